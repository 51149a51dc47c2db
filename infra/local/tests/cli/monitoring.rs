//! The objectives, alert rules and runbooks match this edition.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use vitrina::commands::Cli;

use crate::TestEdition;

fn infra(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The `vitrina` commands in the shell blocks of a page, with continued lines joined.
fn commands(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let joined: String = blocks.collect::<String>().replace("\\\n", " ");
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    joined
        .lines()
        .map(words)
        .filter(|words| words.first().is_some_and(|it| it == "vitrina"))
        .collect()
}

#[test]
fn every_runbook_command_parses() {
    for entry in std::fs::read_dir(infra("runbooks")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == "README.md") {
            continue;
        }
        let commands = commands(&read(&path));
        assert!(!commands.is_empty(), "{} has no command of vitrina", path.display());
        for command in commands {
            let parsed = Cli::command().try_get_matches_from(&command);
            parsed.unwrap_or_else(|error| panic!("{}: {command:?}\n{error}", path.display()));
        }
    }
}

#[test]
fn unknown_flag_does_not_parse() {
    let page = "```sh\nvitrina dlq redrive \\\n  --typo x\n```\n";
    let found = commands(page);
    assert_eq!(found, [["vitrina", "dlq", "redrive", "--typo", "x"]]);
    Cli::command().try_get_matches_from(&found[0]).unwrap_err();
}

/// Metric names in a text, without the suffixes that Prometheus adds for histograms.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let names = text.split(|c| !is_part(c)).filter(|word| word.starts_with("vitrina_"));
    names.map(|name| name.trim_end_matches("_bucket").trim_end_matches("_count")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_rule_metrics_are_exported_and_missing_ones_are_not() {
    let edition = TestEdition::start().await;
    edition.run(&["load", "--rate", "20", "--seconds", "1"]).await.expect(0);
    edition.run(&["sync"]).await.expect(0);
    let url = format!("{}/metrics", edition.running.url);
    let exported = reqwest::get(url).await.unwrap().text().await.unwrap();

    let rules = read(&infra("local/prometheus/rules.yaml"));
    let (wanted, available) = (metrics(&rules), metrics(&exported));
    assert!(wanted.len() >= 4, "{wanted:?}");
    let missing: Vec<_> = wanted.difference(&available).collect();
    assert!(missing.is_empty(), "{missing:?} is not among {available:?}");

    // The share of requests under a bound can only be computed if a bucket ends at that bound.
    let bounds: BTreeSet<&str> =
        rules.split("le=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(bounds, BTreeSet::from(["0.1", "0.3", "0.5", "1.5"]));
    for (metric, bound) in
        [("http_request", "0.1"), ("http_request", "0.3"), ("http_request", "0.5"), ("lag", "1.5")]
    {
        let bucket = format!("vitrina_{metric}_seconds_bucket{{");
        let bound = format!("le=\"{bound}\"");
        let has = exported.lines().any(|line| line.starts_with(&bucket) && line.contains(&bound));
        assert!(has, "no bucket {bound} of {metric}");
    }
    // The labels that the rules select by.
    assert!(exported.contains("route=\"/v1/catalog/products\"") && exported.contains("status=\"2"));

    let objectives = read(&infra("slo.yaml"));
    let missing =
        objectives.lines().filter_map(|line| line.trim().strip_prefix("missing: vitrina_"));
    for name in missing {
        let name = format!("vitrina_{name}");
        assert!(
            !available.contains(name.as_str()),
            "{name} is exported by now: give its objective an expression in infra/slo.yaml"
        );
    }
    edition.stop().await;
}
