//! Which checks a change needs: a pure function from changed paths to commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the root of the workspace.
    pub(crate) folder: PathBuf,
    /// Packages of the workspace that it depends on, for its tests as well.
    pub(crate) dependencies: Vec<String>,
    pub(crate) has_library: bool,
    pub(crate) has_binary: bool,
    /// Names of its integration test programs.
    pub(crate) tests: Vec<String>,
}

/// Commands, each as one line that a shell runs from the root of the workspace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) run: Vec<String>,
    /// Too slow to run after each change.
    pub(crate) not_run: Vec<String>,
}

/// A suite that takes minutes.
struct Slow {
    package: &'static str,
    test: &'static str,
    /// One module of the test program. Empty: all of it.
    module: &'static str,
}

const SLOW: &[Slow] = &[
    Slow { package: "shared", test: "it", module: "event_bridge" },
    Slow { package: "sync", test: "it", module: "crashes" },
    Slow { package: "sync", test: "it", module: "live" },
    Slow { package: "vitrina", test: "it", module: "kills" },
    Slow { package: "vitrina", test: "it", module: "poison" },
    Slow { package: "vitrina", test: "it", module: "repeats" },
    Slow { package: "vitrina", test: "it", module: "resumed" },
    Slow { package: "vitrina", test: "simulation", module: "" },
];

/// Changes in these concern every package.
const CONFIGURATION: &[&str] =
    &[".cargo", "Cargo.lock", "Cargo.toml", "clippy.toml", "rust-toolchain.toml"];

/// Folders inside packages that no package is built or tested with.
const OUTSIDE_PACKAGES: &[&str] = &["infra/local/prometheus"];

/// Compares the API and the events with their published descriptions.
const DESCRIPTIONS: &str = "cargo test -q --locked -p vitrina --test it -- contract:: openapi::";

/// What to run for paths that are not code of a package. `**/NAME` is a NAME in any folder.
pub(super) const CHECKS: &[(&[&str], &str)] = &[
    (&[".sqlx", "**/migrations", "**/sqlx.toml", ".ci/sqlx-prepare"], ".ci/sqlx-prepare --check"),
    (
        &["Cargo.lock", "Cargo.toml", "deny.toml"],
        "cargo deny --locked --log-level error check licenses bans sources",
    ),
    (
        &[
            ".ci/alarms",
            ".ci/aws_commands.py",
            "infra/aws/delivery.md",
            "infra/local/prometheus",
            "infra/runbooks",
            "infra/slo.yaml",
        ],
        ".ci/alarms",
    ),
    (&[".ci/workflows", ".github"], ".ci/workflows"),
    (&[".github", "infra/aws", "infra/runbooks", "infra/slo.yaml"], "infra/aws/test --template"),
    (&["docs/api", ".ci/describe"], DESCRIPTIONS),
    (
        &["infra/local/prometheus", "infra/runbooks", "infra/slo.yaml"],
        "cargo test -q --locked -p vitrina --test cli monitoring::",
    ),
    (
        &["infra/aws/cost.md", "infra/prices.yaml", "infra/workloads.yaml"],
        "cargo test -q --locked -p vitrina --test cost",
    ),
    (&["README.md"], "cargo test -q --locked -p vitrina --test it first_start::"),
    (
        &[
            "ARCHITECTURE.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "docs",
            "infra/runbooks",
            "**/README.md",
        ],
        "cargo test -q --locked -p vitrina --test it links::",
    ),
];

/// The same for suites that are too slow.
const SLOW_CHECKS: &[(&[&str], &str)] = &[
    (&["infra/aws"], "infra/aws/test"),
    (&[".ci/fuzz-http", ".ci/fuzz-http.toml", ".ci/fuzz_http.py"], ".ci/fuzz-http"),
    (&["fuzz"], "cargo xtask fuzz all --seconds 10"),
];

/// What to run when these files have changed. `planted` are the files that planted faults patch.
pub(crate) fn plan(changed: &[PathBuf], packages: &[Package], planted: &BTreeSet<PathBuf>) -> Plan {
    let mut plan = Plan::default();
    if changed.is_empty() {
        return plan;
    }
    let mut touched: BTreeSet<&str> =
        changed.iter().filter_map(|path| package_of(path, packages)).collect();
    if changed.iter().any(|path| planted.contains(path)) {
        // Its tests apply every planted fault.
        touched.insert("xtask");
    }
    let concerned = if changed.iter().any(|path| is_under_any(path, CONFIGURATION)) {
        packages.iter().map(|package| package.name.as_str()).collect()
    } else {
        with_dependents(&touched, packages)
    };
    plan.run.push("cargo fmt --all --check".to_owned());
    plan.run.push("cargo xtask language".to_owned());
    if !concerned.is_empty() {
        let flags = flags("-p", concerned.iter().copied());
        plan.run.push(format!("cargo clippy -q --locked{flags} --all-targets -- -D warnings"));
    }
    let (changed_packages, dependents): (Vec<_>, Vec<_>) = packages
        .iter()
        .filter(|package| concerned.contains(package.name.as_str()))
        .partition(|package| touched.contains(package.name.as_str()));
    test_changed(&changed_packages, &mut plan);
    test_dependents(&dependents, &mut plan);
    for (table, commands) in [(CHECKS, &mut plan.run), (SLOW_CHECKS, &mut plan.not_run)] {
        for (patterns, command) in table {
            let is_due = changed.iter().any(|path| is_under_any(path, patterns));
            if is_due && !commands.iter().any(|known| known == command) {
                commands.push((*command).to_owned());
            }
        }
    }
    plan
}

/// All tests of packages that have changed, except for the slow ones.
fn test_changed(packages: &[&Package], plan: &mut Plan) {
    let (with_slow, fast): (Vec<&Package>, Vec<&Package>) =
        packages.iter().partition(|package| SLOW.iter().any(|slow| slow.package == package.name));
    if !fast.is_empty() {
        let flags = flags("-p", fast.iter().map(|package| package.name.as_str()));
        plan.run.push(format!("cargo test -q --locked{flags}"));
    }
    for package in with_slow {
        let slow = SLOW.iter().filter(|slow| slow.package == package.name);
        let (modules, whole): (Vec<&Slow>, Vec<&Slow>) =
            slow.partition(|slow| !slow.module.is_empty());
        let tests =
            package.tests.iter().filter(|test| !whole.iter().any(|slow| slow.test == **test));
        let tests = flags("--test", tests.map(String::as_str));
        let base = format!("cargo test -q --locked -p {}", package.name);
        let mut command = format!("{base}{}{tests}", own_targets(&[package]));
        if !modules.is_empty() {
            command.push_str(" --");
        }
        for slow in &modules {
            command.extend([" --skip ", slow.module, "::"]);
            plan.not_run.push(format!("{base} --test {} {}::", slow.test, slow.module));
        }
        plan.not_run.extend(whole.iter().map(|slow| format!("{base} --test {}", slow.test)));
        plan.run.push(command);
    }
}

/// Unit tests of packages that depend on a change, and whether the API is still as described.
fn test_dependents(packages: &[&Package], plan: &mut Plan) {
    let tested: Vec<&Package> = packages
        .iter()
        .copied()
        .filter(|package| package.has_library || package.has_binary)
        .collect();
    if !tested.is_empty() {
        let flags = flags("-p", tested.iter().map(|package| package.name.as_str()));
        plan.run.push(format!("cargo test -q --locked{flags}{}", own_targets(&tested)));
    }
    if packages.iter().any(|package| package.name == "vitrina") {
        plan.run.push(DESCRIPTIONS.to_owned());
    }
}

fn own_targets(packages: &[&Package]) -> String {
    let mut flags = String::new();
    if packages.iter().any(|package| package.has_library) {
        flags.push_str(" --lib");
    }
    if packages.iter().any(|package| package.has_binary) {
        flags.push_str(" --bins");
    }
    flags
}

fn flags<'a>(flag: &'a str, values: impl Iterator<Item = &'a str>) -> String {
    values.flat_map(|value| [" ", flag, " ", value]).collect()
}

/// The package with the deepest folder that holds `path`.
fn package_of<'a>(path: &Path, packages: &'a [Package]) -> Option<&'a str> {
    if is_under_any(path, OUTSIDE_PACKAGES) {
        return None;
    }
    let holding = packages.iter().filter(|package| path.starts_with(&package.folder));
    let deepest = holding.max_by_key(|package| package.folder.components().count());
    deepest.map(|package| package.name.as_str())
}

/// These packages and all that depend on them, directly or not.
fn with_dependents<'a>(touched: &BTreeSet<&'a str>, packages: &'a [Package]) -> BTreeSet<&'a str> {
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        for dependency in &package.dependencies {
            dependents.entry(dependency).or_default().push(&package.name);
        }
    }
    let mut found = BTreeSet::new();
    let mut pending: Vec<&str> = touched.iter().copied().collect();
    while let Some(name) = pending.pop() {
        if found.insert(name) {
            pending.extend(dependents.get(name).into_iter().flatten());
        }
    }
    found
}

fn is_under_any(path: &Path, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_prefix("**/") {
        Some(name) => path.components().any(|part| part.as_os_str() == name),
        None => path.starts_with(pattern),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, dependencies: &[&str], tests: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            folder: folder.into(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            has_library: name != "xtask",
            has_binary: name == "vitrina" || name == "xtask",
            tests: tests.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn plan_for(changed: &[&str]) -> Plan {
        let packages = [
            package("shared", "shared", &["shared"], &["it"]),
            package("sync", "services/sync", &["shared", "catalog"], &["it"]),
            package("catalog", "services/catalog", &["shared"], &["it"]),
            package("vitrina", "infra/local", &["catalog", "sync"], &["it", "cli", "simulation"]),
            package("xtask", "xtask", &[], &[]),
        ];
        let changed: Vec<PathBuf> = changed.iter().map(PathBuf::from).collect();
        let planted = [PathBuf::from("services/catalog/src/pages.rs")];
        plan(&changed, &packages, &planted.into())
    }

    /// The commands after those that every change needs.
    fn commands_for(changed: &[&str]) -> Vec<String> {
        let plan = plan_for(changed);
        assert_eq!(plan.run[..2], ["cargo fmt --all --check", "cargo xtask language"]);
        plan.run[2..].to_vec()
    }

    #[test]
    fn no_change_needs_no_check() {
        assert_eq!(plan_for(&[]), Plan::default());
    }

    #[test]
    fn prose_needs_the_language_and_link_checks_only() {
        assert_eq!(
            commands_for(&["docs/decisions/0001-create-is-one-statement.md"]),
            ["cargo test -q --locked -p vitrina --test it links::"]
        );
    }

    #[test]
    fn changed_package_is_tested_and_dependents_get_unit_tests() {
        assert_eq!(
            commands_for(&["services/catalog/src/lib.rs"]),
            [
                "cargo clippy -q --locked -p catalog -p sync -p vitrina --all-targets -- -D warnings",
                "cargo test -q --locked -p catalog",
                "cargo test -q --locked -p sync -p vitrina --lib --bins",
                DESCRIPTIONS,
            ]
        );
    }

    #[test]
    fn slow_suites_are_named_and_left_out() {
        let plan = plan_for(&["infra/local/src/main.rs"]);
        assert_eq!(
            plan.run.last().unwrap(),
            "cargo test -q --locked -p vitrina --lib --bins --test it --test cli -- --skip kills:: \
             --skip poison:: --skip repeats:: --skip resumed::"
        );
        assert_eq!(plan.not_run[0], "cargo test -q --locked -p vitrina --test it kills::");
        assert_eq!(plan.not_run[4], "cargo test -q --locked -p vitrina --test simulation");
    }

    #[test]
    fn file_with_a_planted_fault_needs_the_tests_of_xtask() {
        let commands = commands_for(&["services/catalog/src/pages.rs"]);
        assert!(commands.contains(&"cargo test -q --locked -p catalog -p xtask".to_owned()));
        assert!(
            commands_for(&["xtask/mutants/01-a.patch"])[1].ends_with("test -q --locked -p xtask")
        );
    }

    #[test]
    fn configuration_concerns_every_package() {
        let commands = commands_for(&["clippy.toml"]);
        assert!(commands[0].contains("-p catalog -p shared -p sync -p vitrina -p xtask"));
        assert!(commands[1].ends_with("--lib --bins"));
        let commands = commands_for(&["Cargo.lock"]);
        assert!(commands.last().unwrap().starts_with("cargo deny"));
    }

    #[test]
    fn paths_outside_packages_have_checks_of_their_own() {
        for (path, expected) in [
            ("infra/aws/lib/api.ts", &["infra/aws/test --template"][..]),
            (".github/workflows/build.yaml", &[".ci/workflows", "infra/aws/test --template"]),
            (
                "infra/local/prometheus/rules.yaml",
                &[".ci/alarms", "cargo test -q --locked -p vitrina --test cli monitoring::"],
            ),
            (".sqlx/query-1.json", &[".ci/sqlx-prepare --check"]),
        ] {
            assert_eq!(commands_for(&[path]), expected, "{path}");
        }
        let commands = commands_for(&["infra/slo.yaml"]);
        assert!(commands.contains(&".ci/alarms".to_owned()));
        assert!(commands.contains(&"infra/aws/test --template".to_owned()));
        let commands = commands_for(&["services/sync/migrations/0002_more.sql"]);
        assert!(commands.contains(&".ci/sqlx-prepare --check".to_owned()));
        assert_eq!(plan_for(&["infra/aws/lib/api.ts"]).not_run, ["infra/aws/test"]);
    }

    #[test]
    fn api_description_is_compared_once() {
        let commands = commands_for(&["docs/api/openapi.json", "shared/src/lib.rs"]);
        assert_eq!(commands.iter().filter(|command| *command == DESCRIPTIONS).count(), 1);
    }
}
