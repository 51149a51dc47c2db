//! What the README says of speed is what the report says, and the report says it of everything.

use std::path::Path;

/// The lines of the first table in a document.
fn table(document: &str) -> Vec<&str> {
    let lines = document.lines().skip_while(|line| !line.starts_with("|  | what | ceiling |"));
    lines.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_readme_shows_the_table_and_a_chart_of_the_report() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let report = std::fs::read_to_string(here.join("report/report.md")).unwrap();
    let readme = std::fs::read_to_string(here.join("../README.md")).unwrap();
    let reported = table(&report);
    for goal in ["P1", "P3", "P4", "P5", "P6", "P8", "P9", "P10", "P11", "P12", "P14", "P15", "P17"]
    {
        let line = format!("| {goal} |");
        assert!(reported.iter().any(|row| row.starts_with(&line)), "{goal} is not in the report");
    }
    assert_eq!(table(&readme), reported);
    let charts = readme.split("](bench/report/").skip(1).filter_map(|rest| rest.split(')').next());
    let charts: Vec<&str> = charts.filter(|name| *name != "report.md").collect();
    assert!(!charts.is_empty());
    for chart in charts {
        assert!(here.join("report").join(chart).is_file(), "{chart}");
    }
}
