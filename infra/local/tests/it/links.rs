//! Every relative link of the documents leads to a file, and every path that they name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Folders at the root whose paths the documents name. A path below another folder is not checked.
const FOLDERS: [&str; 12] = [
    ".cargo", ".ci", ".github", ".sqlx", "bench", "docs", "fuzz", "infra", "services", "shared",
    "testkit", "xtask",
];

/// Paths that exist only after a build or a deployment.
const BUILT: [&str; 4] =
    ["infra/aws/artifacts", "infra/aws/cdk.out", "infra/aws/dist", "infra/aws/node_modules"];

/// Parts of a path that stand for something else: the path is an example.
const PLACEHOLDERS: [char; 9] = ['<', '>', '*', '{', '}', '$', '(', '|', ' '];

/// The Markdown files below `folder`.
fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_skipped = name == "target" || name == "node_modules" || name == "cdk.out";
        if path.is_dir() {
            if !is_skipped && (!name.starts_with('.') || name == ".github") {
                documents(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The text without fenced code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The targets of the links in a text.
fn links(prose: &str) -> BTreeSet<&str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', '\n']).next());
    targets.filter(|target| !target.is_empty()).collect()
}

/// The texts in backticks.
fn quoted(prose: &str) -> BTreeSet<&str> {
    prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Whether a text in backticks is a path from the root of the repository.
fn is_path(text: &str) -> bool {
    let folder = text.split_once('/').map(|(folder, _)| folder);
    folder.is_some_and(|folder| FOLDERS.contains(&folder))
        && !text.contains(PLACEHOLDERS)
        && !text.contains("..")
        && !text.contains("NN")
        && !BUILT.iter().any(|built| text.starts_with(built))
}

/// The anchors of a document: its headings as GitHub names them.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// What is wrong with a link in `document`.
fn fault(document: &Path, prose: &str, target: &str) -> Option<String> {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    if is_elsewhere || target.contains(PLACEHOLDERS) {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = document.parent().unwrap().join(path);
    if !path.is_empty() && !file.exists() {
        return Some(format!("links to {path}, which does not exist"));
    }
    if anchor.is_empty() {
        return None;
    }
    let is_there = if path.is_empty() {
        anchors(prose).contains(anchor)
    } else {
        let other = std::fs::read_to_string(&file).unwrap_or_default();
        anchors(&self::prose(&other)).contains(anchor)
    };
    (!is_there).then(|| format!("links to {target}, which has no such heading"))
}

#[test]
fn links_and_paths_in_documents_exist() {
    let root = root();
    let mut files = Vec::new();
    documents(&root, &mut files);
    let mut faults = BTreeSet::new();
    for file in &files {
        let prose = prose(&std::fs::read_to_string(file).unwrap());
        let name = file.strip_prefix(&root).unwrap().display();
        let wrong_links = links(&prose).into_iter().filter_map(|link| fault(file, &prose, link));
        faults.extend(wrong_links.map(|fault| format!("{name} {fault}")));
        // A path with a line or an item, as in `src/lib.rs:12`, is a path up to there.
        let paths = quoted(&prose).into_iter().filter(|text| is_path(text));
        let paths = paths.map(|path| path.split(':').next().unwrap().trim_end_matches('/'));
        let missing = paths.filter(|path| !root.join(path).exists());
        faults.extend(missing.map(|path| format!("{name} names {path}, which does not exist")));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "services/sync/README.md"] {
        assert!(files.contains(&root.join(document)), "{document} was not found");
    }
}

#[test]
fn links_and_paths_are_read_from_prose_only() {
    let text = "See [`a`](b.md#c-d) and [e](<f>).\n```sh\n[not](this.md) `infra/not`\n```\n\
                `infra/x.rs:7`, `docs/<name>.md`, `cargo run`, `x/y`\n## C, d\n";
    let prose = prose(text);
    assert_eq!(links(&prose), BTreeSet::from(["b.md#c-d", "<f>"]));
    let paths: Vec<&str> = quoted(&prose).into_iter().filter(|text| is_path(text)).collect();
    assert_eq!(paths, ["infra/x.rs:7"]);
    assert_eq!(anchors(&prose), BTreeSet::from(["c-d".to_owned()]));
}
