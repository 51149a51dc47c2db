//! Checks of the structure: which crates and modules may use which, how files are named, and where
//! endpoints are tested.
//!
//! Imports are read from the source text: `use` declarations and paths that begin with `crate::`,
//! `self::`, `super::` or a crate's name. Comments and `mod tests` are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates that are services: none may depend on another.
const SERVICES: [&str; 4] = ["inventory", "catalog", "sync", "identity"];

/// The modules of a service that hold pure rules.
const RULES: [&str; 11] = [
    "inventory/product",
    "inventory/stock",
    "catalog/projection",
    "sync/comparison",
    "sync/categories",
    "sync/findings",
    "sync/trace",
    "identity/account",
    "identity/attempts",
    "identity/codes",
    "identity/sessions",
];

/// What a rule may not import: rules take time, ids and state as arguments, and know no transport. They
/// may name the fields that they refuse, as `shared::http::problem::FieldError`.
const NOT_IN_RULES: [&str; 16] = [
    "crate::http",
    "crate::store",
    "shared::host",
    "shared::http::auth::Operator",
    "shared::http::auth::Verifier",
    "shared::http::page",
    "shared::http::rate_limit",
    "shared::http::request",
    "shared::http::IdempotencyKey",
    "shared::http::IfMatch",
    "shared::http::Json",
    "shared::http::LargeJson",
    "shared::http::PathId",
    "shared::http::Query",
    "axum",
    "sqlx",
];

/// Exceptions to each check, which only become fewer: a test fails if one is no longer needed.
const RULE_EXCEPTIONS: &[&str] = &[];
const STORE_EXCEPTIONS: &[&str] = &[];
const SHARED_HTTP_EXCEPTIONS: &[&str] = &[];
const CIRCLE_EXCEPTIONS: &[&str] = &[];
const FILE_EXCEPTIONS: &[&str] = &[];

#[test]
fn services_depend_on_shared_and_never_on_each_other() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    // Besides the services there are shared, testkit, vitrina, local-postgres, bench and xtask.
    assert_eq!(metadata.workspace_packages().len(), SERVICES.len() + 6, "is a crate missing here?");
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let inside = package.dependencies.iter().filter(|dependency| {
            dependency.path.is_some() && dependency.kind != DependencyKind::Development
        });
        for dependency in inside {
            let allowed = match name {
                "vitrina" | "bench" => true,
                "shared" | "local-postgres" => false,
                "testkit" => ["shared", "local-postgres"].contains(&dependency.name.as_str()),
                _ => dependency.name == "shared",
            };
            assert!(allowed, "{name} depends on {}", dependency.name);
        }
    }
}

#[test]
fn no_program_is_built_with_the_testkit() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let programs = metadata.workspace_packages().into_iter().filter(|it| it.name != "testkit");
    for package in programs {
        let built = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
        for dependency in built {
            let has_points = dependency.features.iter().any(|feature| feature == "failpoints");
            assert!(!has_points, "{} is built with failpoints", package.name);
            assert_ne!(dependency.name, "testkit", "{} is built with the testkit", package.name);
        }
    }
}

#[test]
fn rules_import_neither_http_nor_store_nor_host() {
    let mut found = BTreeSet::new();
    for rule in RULES {
        let (service, module) = rule.split_once('/').unwrap();
        let sources = sources(&root().join("services").join(service).join("src"));
        let rule_files: Vec<_> = sources.iter().filter(|source| source.is_in(module)).collect();
        assert!(!rule_files.is_empty(), "{rule} is gone: change RULES");
        found.extend(rule_files.into_iter().flat_map(|source| source.violations(&NOT_IN_RULES)));
    }
    assert_only(&found, RULE_EXCEPTIONS);
}

#[test]
fn stores_do_not_import_http() {
    let mut found = BTreeSet::new();
    for service in SERVICES {
        let sources = sources(&root().join("services").join(service).join("src"));
        let stores = sources.iter().filter(|source| source.is_in("store"));
        found.extend(stores.flat_map(|source| source.violations(&["crate::http", "axum"])));
    }
    assert_only(&found, STORE_EXCEPTIONS);
}

#[test]
fn shared_http_does_not_import_the_host() {
    let sources = sources(&root().join("shared/src"));
    let http = sources.iter().filter(|source| source.is_in("http"));
    let found = http.flat_map(|source| source.violations(&["crate::host"])).collect();
    assert_only(&found, SHARED_HTTP_EXCEPTIONS);
}

/// A parent and its child modules may use each other; siblings may not, wherever the use is below them.
#[test]
fn sibling_modules_do_not_use_each_other_in_a_circle() {
    let mut found = BTreeSet::new();
    for folder in crate_folders() {
        found.extend(circles(&sources(&folder.join("src")), &shown(&folder)));
    }
    assert_only(&found, CIRCLE_EXCEPTIONS);
}

#[test]
fn module_with_submodules_is_a_mod_rs() {
    let mut files = Vec::new();
    for folder in crate_folders() {
        for part in ["src", "tests"] {
            files.extend(rust_files(&folder.join(part)));
        }
    }
    let with_folder = files.iter().filter(|file| file.with_extension("").is_dir());
    assert_only(&with_folder.map(|file| shown(file)).collect(), FILE_EXCEPTIONS);
}

/// So the tests of an endpoint are found by its name.
#[test]
fn every_endpoint_has_a_test_file_of_its_name() {
    let mut missing = BTreeSet::new();
    for service in SERVICES {
        let folder = root().join("services").join(service);
        let tests = folder.join("tests/it");
        let modules = std::fs::read_to_string(tests.join("main.rs")).unwrap();
        for name in endpoints(&folder.join("src/http")) {
            let file = tests.join(&name).with_extension("rs");
            let test = std::fs::read_to_string(&file).unwrap_or_default();
            if !test.contains("#[tokio::test") {
                missing.insert(format!("{}: has no test", shown(&file)));
            }
            if !modules.lines().any(|line| line == format!("mod {name};")) {
                missing.insert(format!("{}: is not a module of main.rs", shown(&file)));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The names of the files in a service's `http` folder that contain an endpoint.
fn endpoints(http: &Path) -> Vec<String> {
    let is_endpoint =
        |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains("#[utoipa::path(");
    let files = rust_files(http).into_iter().filter(is_endpoint);
    let names: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    // A service may only consume events.
    assert!(!names.is_empty() || !http.exists(), "no endpoint in {}", shown(http));
    names
}

/// Fails for each finding that is not excepted, and for each exception that is not found.
#[track_caller]
fn assert_only(found: &BTreeSet<String>, exceptions: &[&str]) {
    let exceptions: BTreeSet<String> = exceptions.iter().map(ToString::to_string).collect();
    let new: Vec<_> = found.difference(&exceptions).collect();
    let stale: Vec<_> = exceptions.difference(found).collect();
    assert!(
        new.is_empty() && stale.is_empty(),
        "not allowed: {new:#?}; delete exceptions: {stale:#?}"
    );
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A path as it is written in the exceptions.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

pub(crate) fn crate_folders() -> Vec<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let manifests = metadata.workspace_packages().into_iter().map(|it| it.manifest_path.clone());
    manifests.map(|it| it.parent().unwrap().as_std_path().to_owned()).collect()
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// One file of a crate.
struct Source {
    file: PathBuf,
    /// Names of the modules down to this one; none for the crate's root.
    module: Vec<String>,
    /// What it imports, with `self` and `super` replaced.
    imports: BTreeSet<Vec<String>>,
}

impl Source {
    fn is_in(&self, module: &str) -> bool {
        self.module.first().is_some_and(|first| first == module)
    }

    /// The imports that begin with one of these paths, as they are written in the exceptions.
    fn violations(&self, forbidden: &[&str]) -> BTreeSet<String> {
        let imports = self.imports.iter().map(|path| path.join("::"));
        let is_in = |path: &str, prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let prefixes = imports.filter_map(|path| forbidden.iter().find(|it| is_in(&path, it)));
        prefixes.map(|prefix| format!("{} imports {prefix}", shown(&self.file))).collect()
    }
}

/// The library of a crate, or its program if it has no library.
fn sources(src: &Path) -> Vec<Source> {
    let has_library = src.join("lib.rs").exists();
    let read = |file: PathBuf| {
        let relative = file.strip_prefix(src).unwrap().with_extension("");
        let mut module: Vec<String> =
            relative.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        let is_other_program = module[0] == "bin" || (has_library && module == ["main"]);
        if is_other_program || module.iter().any(|name| name == "tests") {
            return None;
        }
        module.pop_if(|name| matches!(name.as_str(), "lib" | "main" | "mod"));
        let text = std::fs::read_to_string(&file).unwrap();
        let imports = imports(&text).into_iter().map(|path| absolute(&module, path)).collect();
        Some(Source { file, module, imports })
    };
    rust_files(src).into_iter().filter_map(read).collect()
}

/// All paths in the code of a file that begin with a crate or with `self` or `super`.
fn imports(text: &str) -> Vec<Vec<String>> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = Vec::new();
    for start in ["crate::", "self::", "super::", "shared::", "axum::", "sqlx::"] {
        for (at, _) in code.match_indices(start) {
            if !code[..at].ends_with(is_name) {
                expand(&mut &code[at..], &mut Vec::new(), &mut paths);
            }
        }
    }
    paths
}

/// Reads one path, with all alternatives of its braces, from the start of `code`.
fn expand(code: &mut &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let length = prefix.len();
    loop {
        *code = code.trim_start();
        if let Some(rest) = code.strip_prefix('{') {
            *code = rest;
            while !code.is_empty() && !code.starts_with('}') {
                expand(code, prefix, paths);
                *code = code.trim_start().trim_start_matches(',').trim_start();
            }
            *code = code.get(1..).unwrap_or_default();
            break;
        }
        let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let (name, rest) = code.split_at(end);
        *code = rest;
        prefix.push(name.to_owned());
        let Some(rest) = code.strip_prefix("::") else {
            paths.push(prefix.clone());
            // The rest of an element of braces: `as name`, or `*`.
            let end = code.find([',', '}', ';', '\n']).unwrap_or(code.len());
            *code = &code[end..];
            break;
        };
        *code = rest;
    }
    prefix.truncate(length);
}

/// A path from the root of its crate.
fn absolute(module: &[String], path: Vec<String>) -> Vec<String> {
    if !matches!(path[0].as_str(), "self" | "super") {
        return path;
    }
    let supers = path.iter().take_while(|name| *name == "super").count();
    let names = path.iter().filter(|name| !matches!(name.as_str(), "self" | "super"));
    let own = module.iter().take(module.len().saturating_sub(supers));
    std::iter::once("crate".to_owned()).chain(own.chain(names).cloned()).collect()
}

/// The siblings that each module uses, directly or below itself.
type Uses<'a> = BTreeMap<&'a [String], BTreeSet<&'a [String]>>;

/// The modules that a module uses, directly or through others.
fn reachable<'a>(uses: &Uses<'a>, from: &'a [String]) -> BTreeSet<&'a [String]> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        let next = uses.get(module).into_iter().flatten();
        open.extend(next.filter(|next| reached.insert(**next)));
    }
    reached
}

/// The groups of sibling modules that use each other in a circle.
fn circles(sources: &[Source], folder: &str) -> BTreeSet<String> {
    let modules: BTreeSet<&[String]> = sources.iter().map(|it| it.module.as_slice()).collect();
    let mut uses = Uses::new();
    for Source { module, imports, .. } in sources {
        for path in imports.iter().filter(|path| path[0] == "crate") {
            let lengths = (0..path.len()).rev();
            let Some(target) = lengths.map(|n| &path[1..=n]).find(|it| modules.contains(it)) else {
                continue;
            };
            let common = module.iter().zip(target).take_while(|(own, its)| own == its).count();
            if common < module.len() && common < target.len() {
                uses.entry(&module[..=common]).or_default().insert(&target[..=common]);
            }
        }
    }
    let mut found = BTreeSet::new();
    for module in uses.keys() {
        let circle = reachable(&uses, module);
        let circle = circle.into_iter().filter(|other| reachable(&uses, other).contains(module));
        let names: Vec<String> = circle.map(|module| module.join("::")).collect();
        if !names.is_empty() {
            found.insert(format!("{folder}: {}", names.join(", ")));
        }
    }
    found
}

#[test]
fn imports_are_read_from_braces_and_from_paths_in_code() {
    let code = "use crate::{a::{self, B as C}, d::*};\n// crate::comment\nlet x = super::e::f();\n\
                #[cfg(test)]\nmod tests {\n    use crate::g;\n}\n";
    let module = ["m".to_owned(), "n".to_owned()];
    let paths: BTreeSet<String> =
        imports(code).into_iter().map(|path| absolute(&module, path).join("::")).collect();
    let expected = ["crate::a::self", "crate::a::B", "crate::d::", "crate::m::e::f"];
    assert_eq!(paths, expected.map(ToOwned::to_owned).into());
}

#[test]
fn circles_are_found_between_folders_and_not_to_a_parent() {
    let source = |module: &str, imports: &[&str]| Source {
        file: PathBuf::new(),
        module: module.split('/').map(ToOwned::to_owned).collect(),
        imports: imports.iter().map(|it| it.split("::").map(ToOwned::to_owned).collect()).collect(),
    };
    let sources = [
        source("a", &["crate::a::x::Item"]),
        source("a/x", &["crate::a::Item", "crate::b"]),
        source("b", &["crate::c::Item"]),
        source("c", &["crate::a::x"]),
        source("d", &["crate::a"]),
    ];
    let found = circles(&sources, "crate");
    assert_eq!(found, BTreeSet::from(["crate: a, b, c".to_owned()]));
}
