//! The READMEs show the figures of the report.

#![expect(clippy::unwrap_used, reason = "a missing file or line is a failure")]

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The lines of the table of results in a document.
fn table(document: &str) -> Vec<&str> {
    let lines = document.lines().skip_while(|line| !line.starts_with("|  | what | ceiling |"));
    lines.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn readme_of_bench_shows_the_table_and_a_chart_of_the_report() {
    let (report, readme) = (read("report/report.md"), read("README.md"));
    let reported = table(&report);
    for goal in ["P1", "P3", "P4", "P5", "P6", "P8", "P9", "P10", "P11", "P12", "P14", "P15", "P17"]
    {
        let line = format!("| {goal} |");
        assert!(reported.iter().any(|row| row.starts_with(&line)), "{goal} is not in the report");
    }
    assert_eq!(table(&readme), reported);
    let charts = readme.split("](report/").skip(1).filter_map(|rest| rest.split(')').next());
    let charts: Vec<&str> = charts.filter(|name| *name != "report.md").collect();
    assert!(!charts.is_empty());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("report");
    for chart in charts {
        assert!(folder.join(chart).is_file(), "{chart}");
    }
}

#[test]
fn readme_of_the_project_shows_main_figures_of_the_report() {
    const OURS: usize = 3;
    const RATIO: usize = 4;
    const P50: usize = 6;
    const P99: usize = 7;
    let (report, readme) = (read("report/report.md"), read("../README.md"));
    let reported = table(&report);
    for (goal, start, columns) in [
        ("P1", "- Creating a product:", &[OURS, RATIO, P99][..]),
        ("P5", "- A page of 20 products:", &[OURS, RATIO]),
        ("P6", "- A page of 20 products:", &[OURS]),
        ("P12", "- From commit to visible:", &[P50, P99]),
    ] {
        let row = reported.iter().find(|row| row.starts_with(&format!("| {goal} |"))).unwrap();
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let line = readme.lines().find(|line| line.starts_with(start)).expect(start);
        for column in columns {
            assert!(line.contains(cells[*column]), "{goal}: {} in {line}", cells[*column]);
        }
    }
}
