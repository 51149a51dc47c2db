//! Every interval that production code declares has a row in `docs/intervals.md`, with its value and the
//! test of its effect.

mod declared;
mod periodic;
mod relations;

use std::collections::BTreeSet;

use crate::architecture::{crate_folders, root, shown};
use crate::sources::{production_files, production_text, test_names};
use declared::{Interval, intervals, scaled};
use shared::database::IS_IDLE;

const TABLE: &str = "docs/intervals.md";

/// Intervals without a test of their effect, each for the reason in its row. May only decrease.
const WITHOUT_TEST: usize = 36;

/// A row of the table.
#[derive(Debug)]
struct Row {
    interval: Interval,
    /// The tests that see it; none if `reason` says why.
    tests: Vec<String>,
    reason: String,
}

#[test]
fn every_interval_has_a_row_with_its_value() {
    let texts: Vec<(String, String)> = production_files()
        .iter()
        .map(|file| (shown(file), std::fs::read_to_string(file).unwrap()))
        .collect();
    let names = texts.iter().flat_map(|(_, text)| intervals(text)).map(|(name, _)| name);
    let constants: BTreeSet<String> =
        names.filter(|name| !name.contains(|c: char| c.is_ascii_lowercase())).collect();
    let mut declared = Vec::new();
    for (file, text) in &texts {
        let found = intervals(text).into_iter().chain(scaled(text, &constants));
        declared.extend(found.map(|(name, value)| (format!("{file} {name}"), value)));
    }
    assert!(declared.len() > 100, "the sources are not read: {declared:#?}");
    let mut listed: Vec<Interval> = rows().into_iter().map(|row| row.interval).collect();
    let mut missing = Vec::new();
    for interval in declared {
        match listed.iter().position(|row| *row == interval) {
            Some(at) => drop(listed.swap_remove(at)),
            None => missing.push(interval),
        }
    }
    assert!(
        missing.is_empty() && listed.is_empty(),
        "{TABLE} lacks {missing:#?}, and lists what no code declares: {listed:#?}. First write a test \
         that sees the interval just before and at its end"
    );
}

#[test]
fn every_interval_names_a_test_that_exists() {
    let tests = test_names();
    assert!(tests.len() > 500, "the tests are not read");
    let mut unknown = Vec::new();
    let mut without_test = 0;
    for Row { interval, tests: named, reason } in rows() {
        unknown.extend(named.iter().filter(|name| !tests.contains(*name)).cloned());
        if named.is_empty() {
            assert!(!reason.is_empty(), "{interval:?} names neither a test nor a reason");
            without_test += 1;
        }
    }
    assert!(unknown.is_empty(), "no tests of these names: {unknown:#?}");
    assert_eq!(without_test, WITHOUT_TEST, "change WITHOUT_TEST, which may only decrease");
}

/// What `doctor` compares with the clock of this machine.
const SERVER_CLOCK: &str = "select current_setting('server_version'), clock_timestamp()";

/// All times in statements are parameters from the clock of the process, so that tests can set them.
#[test]
fn statements_contain_no_intervals() {
    let mut found = BTreeSet::new();
    for folder in crate_folders() {
        let mut files = production_files();
        files.retain(|file| file.starts_with(&folder));
        let migrations = std::fs::read_dir(folder.join("migrations")).into_iter().flatten();
        files.extend(migrations.map(|entry| entry.unwrap().path()));
        for file in files.iter().filter(|file| file.is_file()) {
            let text = production_text(&std::fs::read_to_string(file).unwrap()).to_lowercase();
            // The ages of a transaction and of a server come from the server itself.
            let text = text.replace(IS_IDLE, "").replace(SERVER_CLOCK, "");
            let own = ["interval '", "'::interval", "make_interval", "current_timestamp"];
            let clocks = ["now()", "clock_timestamp()", "statement_timestamp()", "localtimestamp"];
            // A clock of the process is read by a call on a value or a type: `clock.now()`.
            let has = |word: &&str| {
                let mut found = text.match_indices(*word);
                found.any(|(at, _)| !text[..at].ends_with(['.', ':', '_']))
            };
            if own.iter().chain(&clocks).any(has) {
                found.insert(shown(file));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The rows of the table: interval, value, effect, test.
fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join(TABLE)).unwrap();
    let mut file = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut file);
            assert!(root().join(&file).is_file(), "{file} does not exist");
        }
        let Some(cells) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = cells.trim_end_matches(" |").split(" | ").collect();
        let [name, value, _, seen] = cells[..] else { panic!("four cells: {line}") };
        let named = seen.strip_prefix('`').map(|names| names.trim_end_matches('`'));
        rows.push(Row {
            interval: (format!("{file} {}", name.trim_end_matches('`')), value.replace('`', "")),
            tests: named
                .into_iter()
                .flat_map(|names| names.split("`, `").map(ToOwned::to_owned))
                .collect(),
            reason: seen.to_owned(),
        });
    }
    rows
}
