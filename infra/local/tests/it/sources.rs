//! The source text of the workspace, for checks that read it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::architecture::{crate_folders, rust_files};

/// Crates that are not part of a running edition.
const NOT_IN_PRODUCTION: [&str; 4] = ["bench", "testkit", "xtask", "fuzz"];

/// The source files of the programs.
pub(crate) fn production_files() -> Vec<PathBuf> {
    let folders = crate_folders().into_iter();
    let folders = folders.filter(|it| !NOT_IN_PRODUCTION.iter().any(|name| it.ends_with(name)));
    let is_production =
        |file: &PathBuf| !file.iter().any(|part| part == "tests") && !file.ends_with("tests.rs");
    folders.flat_map(|it| rust_files(&it.join("src"))).filter(is_production).collect()
}

/// A file without the items that only tests have.
pub(crate) fn production_text(text: &str) -> String {
    let mut kept = String::new();
    let mut skipped: Option<usize> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim();
        match skipped {
            Some(at) if indent == at && (code.starts_with('}') || code.ends_with(';')) => {
                skipped = None;
            }
            Some(_) => {}
            None if code.starts_with("#[cfg(test)]") => skipped = Some(indent),
            None => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

/// The names of the tests of the workspace. One that two tests have names neither of them.
pub(crate) fn test_names() -> BTreeSet<String> {
    let (mut names, mut ambiguous) = (BTreeSet::new(), BTreeSet::new());
    let folders = crate_folders().into_iter();
    let files = folders.flat_map(|it| [it.join("src"), it.join("tests")]);
    for file in files.flat_map(|folder| rust_files(&folder)) {
        let text = std::fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
                let name = name.split(['(', '<']).next().unwrap().to_owned();
                if !names.insert(name.clone()) {
                    ambiguous.insert(name);
                }
                is_test = false;
            }
        }
    }
    names.retain(|name| !ambiguous.contains(name));
    names
}

/// The constant, field or function that a line is part of.
pub(crate) fn name_of(lines: &[&str], number: usize) -> String {
    let code = lines[number].trim();
    let word = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let constant = |line: &str| line.split_once("const ").map(|(_, name)| word(name));
    if let Some(name) = constant(code) {
        return name;
    }
    let field = word(code);
    if !field.is_empty() && code[field.len()..].starts_with(": ") {
        return field;
    }
    let function = |line: &&str| line.split_once("fn ").map(|(_, name)| word(name));
    lines[..number].iter().rev().find_map(function).unwrap_or_default()
}
