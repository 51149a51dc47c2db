//! The metric and settings catalogues agree with the code and with their documentation.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use shared::{config::catalogue, metrics};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of every production source file.
fn sources() -> Vec<String> {
    let mut folders = vec![
        root().join("shared/src"),
        root().join("services"),
        root().join("infra/local/src"),
        root().join("testkit/src"),
    ];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["metrics.rs", "catalogue.rs"].iter().any(|own| path.ends_with(own))
            {
                let text = fs::read_to_string(&path).unwrap();
                // Unit tests at the end of a file may record any metric.
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                texts.push(code.to_owned());
            }
        }
    }
    texts
}

/// All string literals in the code that start with one of `prefixes` and continue with `allowed`.
fn literals(prefixes: &[&str], allowed: impl Fn(char) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in sources() {
        for literal in text.split('"') {
            if prefixes.iter().any(|prefix| literal.starts_with(prefix))
                && literal.chars().all(&allowed)
            {
                found.insert(literal.to_owned());
            }
        }
    }
    found
}

/// A role of the database. Every other name that begins like it is that of a metric.
const ROLE: &str = "vitrina_sync_feed";

#[test]
fn every_recorded_metric_has_a_row_and_every_row_is_recorded() {
    let mut recorded = literals(&["vitrina_"], |c| c.is_ascii_lowercase() || c == '_');
    assert!(recorded.remove(ROLE), "no code names the role {ROLE}");
    // Recorded through its constant.
    recorded.insert(metrics::HTTP_REQUEST_SECONDS.to_owned());
    let listed: BTreeSet<String> =
        metrics::CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(recorded, listed);
}

#[test]
fn metric_names_follow_the_conventions_of_prometheus() {
    for metric in &metrics::CATALOGUE {
        let is_counter = metric.kind == metrics::Kind::Counter;
        assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
        let is_time = metric.unit == metrics::Unit::Seconds;
        assert_eq!(metric.name.ends_with("_seconds"), is_time, "{}", metric.name);
    }
}

#[test]
fn every_setting_has_a_row_and_every_row_is_read() {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let read = literals(&["VITRINA_", "OTEL_EXPORTER", "OTEL_SERVICE"], is_name);
    let listed: BTreeSet<String> = catalogue::SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .filter(|name| name.starts_with("VITRINA_") || name.starts_with("OTEL_"))
        .collect();
    // Variables of the build, of the tests and of the fuzzer are not settings of a program.
    let others = ["VITRINA_", "VITRINA_FUZZ", "VITRINA_SQLX_DATABASE_URL"];
    let unlisted: Vec<&String> =
        read.difference(&listed).filter(|name| !others.contains(&name.as_str())).collect();
    assert_eq!(unlisted, Vec::<&String>::new(), "read and not listed");
    assert_eq!(listed.difference(&read).collect::<Vec<_>>(), Vec::<&String>::new(), "never read");
}

#[test]
fn generated_pages_are_up_to_date() {
    for (page, expected) in
        [("metrics", metrics::to_markdown()), ("settings", catalogue::to_markdown())]
    {
        let path = root().join("docs").join(page).with_extension("md");
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, expected, "{} is not up to date: run .ci/describe", path.display());
    }
}
