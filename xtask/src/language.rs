//! `cargo xtask language`: finds words and test names that the language rules of this project forbid.
//!
//! Text names its actor: client, operator, worker. A pronoun in that place leaves a reader guessing.

use std::fs;
use std::path::Path;

use crate::{print, tree};

/// The longest permitted name of a function, in characters.
const LONGEST_NAME: usize = 60;

const FORBIDDEN: &[&str] = &[
    "who",
    "whoever",
    "whom",
    "nobody",
    "somebody",
    "someone",
    "anybody",
    "everybody",
    "he",
    "his",
    "him",
    // Archaic or narrative words.
    "beside",
    "hence",
    "lest",
    "meanwhile",
    "thereof",
    "told",
];

/// Pairs of words, such as an idiom for "permanently".
const FORBIDDEN_PAIRS: &[(&str, &str)] = &[("for", "good"), ("ever", "so")];

/// Followed by "none", these hide a negation at the end of a clause.
const BEFORE_NONE: &[&str] = &["is", "are", "was", "were"];

/// Returns whether every file follows the rules.
pub(crate) fn run() -> anyhow::Result<bool> {
    let root = tree::root();
    let mut count = 0;
    for path in tree::files(&root)? {
        // A file that is not UTF-8 holds no text.
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        if !is_checked(&path) {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            for fault in faults(line, path.extension().is_some_and(|end| end == "rs")) {
                print(&format!("{}:{number}: {fault}", path.display()));
                count += 1;
            }
        }
    }
    print(&format!("{count} forbidden words and long function names"));
    Ok(count == 0)
}

/// Whether the rules apply to a file: they exempt generated files, inputs of the fuzzer, licences, and
/// migrations, which must not change once applied.
fn is_checked(path: &Path) -> bool {
    let is_generated = path.starts_with(".sqlx")
        || path.starts_with("fuzz/corpus")
        || path.to_string_lossy().starts_with("LICENSE")
        || path.ends_with("package-lock.json")
        || path.extension().is_some_and(|end| end == "lock" || end == "svg");
    let is_migration = path.components().any(|part| part.as_os_str() == "migrations")
        && path.extension().is_some_and(|end| end == "sql");
    !is_generated && !is_migration && !path.ends_with("xtask/src/language.rs")
}

/// The forbidden words of a line and, in Rust, names of functions that are too long.
fn faults(line: &str, is_rust: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut previous = String::new();
    let mut end_of_previous = 0;
    for (start, word) in words(line) {
        let end = start + word.len();
        let lowercase = word.to_lowercase();
        if FORBIDDEN.contains(&lowercase.as_str()) && !is_quoted(line, start, end) {
            found.push(word.to_owned());
        }
        let gap = &line[end_of_previous..start];
        // `is_none` is a function of the standard library.
        let follows = gap == "_" && previous != "is"
            || !gap.is_empty() && gap.chars().all(char::is_whitespace);
        if lowercase == "none" && follows && BEFORE_NONE.contains(&previous.as_str()) {
            found.push(format!("{previous} none"));
        }
        if FORBIDDEN_PAIRS.contains(&(previous.as_str(), lowercase.as_str()))
            && (gap == "_" || !gap.is_empty() && gap.chars().all(char::is_whitespace))
        {
            found.push(format!("{previous} {lowercase}"));
        }
        (previous, end_of_previous) = (lowercase, end);
    }
    if is_rust {
        let names = line
            .split("fn ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        found.extend(names.filter(|name| name.len() > LONGEST_NAME).map(ToOwned::to_owned));
    }
    found
}

/// The words of a line and where they start. An identifier is as many words as it has parts.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_separator = |c: char| !c.is_alphanumeric();
    let mut end = 0;
    let words = line.split_inclusive(is_separator).map(move |part| {
        let start = end;
        end += part.len();
        (start, part.trim_end_matches(is_separator))
    });
    words.filter(|(_, word)| !word.is_empty())
}

/// Whether quotes enclose just this word: it is a value, such as the Unix account `nobody`.
fn is_quoted(line: &str, start: usize, end: usize) -> bool {
    let (before, after) = (line[..start].chars().next_back(), line[end..].chars().next());
    before == after && matches!(before, Some('"' | '\'' | '`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_words_are_found_in_text_and_identifiers() {
        assert_eq!(faults("Whoever asks, asks his host.", false), ["Whoever", "his"]);
        assert_eq!(faults("fn blocks_nobody() {", true), ["nobody"]);
        assert_eq!(faults("the version is none, and\twas  none", false), ["is none", "was none"]);
        assert_eq!(faults("fn versions_are_none", false), ["are none"]);
        assert_eq!(
            faults("told meanwhile, deleted for good", false),
            ["told", "meanwhile", "for good"]
        );
    }

    #[test]
    fn other_words_and_quoted_values_are_permitted() {
        for line in [
            "whoami; the history of this",
            "id -u 'nobody'",
            "`who`",
            "id.is_none()",
            "is good for ever",
        ] {
            assert!(faults(line, true).is_empty(), "{line}");
        }
    }

    #[test]
    fn long_function_names_are_found_in_rust_only() {
        let (longest, too_long) = ("a".repeat(LONGEST_NAME), "a".repeat(LONGEST_NAME + 1));
        assert!(faults(&format!("pub fn {longest}<T>() {{"), true).is_empty());
        let line = format!("async fn {too_long}() {{");
        assert_eq!(faults(&line, true), [too_long]);
        assert!(faults(&line, false).is_empty());
    }

    #[test]
    fn only_generated_files_and_migrations_are_exempt() {
        for path in ["README.md", "infra/aws/test", "web/de.po", "a/b.yaml", ".ci/run", "a/b.sql"] {
            assert!(is_checked(Path::new(path)), "{path}");
        }
        for path in
            ["Cargo.lock", ".sqlx/a.json", "bench/report/lag.svg", "shared/migrations/1.sql"]
        {
            assert!(!is_checked(Path::new(path)), "{path}");
        }
    }
}
