//! The report: the conditions of the run, the table, and charts.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::chart::{Chart, Kind};
use crate::goal::Row;
use crate::{profiles, table};

/// The conditions of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunConditions {
    /// Start time, in RFC 3339 format.
    pub(crate) at: String,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) quick: bool,
    pub(crate) cores: usize,
    /// Requests a second that the load generator sends to a server that does nothing.
    pub(crate) generator: f64,
}

/// Writes `report.md` and its charts into `folder`.
pub(crate) fn write(
    folder: &Path,
    rows: &[Row],
    mut charts: Vec<Chart>,
    circumstances: &RunConditions,
) -> anyhow::Result<()> {
    let writing = || format!("writing the report into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(writing)?;
    charts.insert(0, throughput(rows));
    charts.insert(1, latency(rows));
    let mut text = header(circumstances);
    text.push_str(&table::markdown(rows));
    text.push_str(&profiles::of_missed(rows));
    for chart in &charts {
        chart.draw(folder)?;
        // Writing to memory does not fail.
        let _ = writeln!(text, "\n![{}]({}.svg)", chart.title, chart.name);
    }
    std::fs::write(folder.join("report.md"), text).with_context(writing)
}

fn header(run: &RunConditions) -> String {
    let quick = if run.quick { ", `--quick`" } else { "" };
    format!(
        "# Benchmark report\n\n\
         {at}, {cores} cores, {rounds} rounds of {seconds} s for each side{quick}. \
         Each round measures the ceiling and then Vitrina, on the same stores. The table shows \
         medians over the rounds, and the minimum and maximum ratio. The load generator shares \
         the machine with the servers. It sends {generator:.0} requests a second to a server that \
         does nothing. The costs on AWS are in infra/aws/cost.md.\n\n",
        at = run.at,
        cores = run.cores,
        rounds = run.rounds,
        seconds = run.seconds,
        generator = run.generator,
    )
}

/// Ratios to the ceilings: unlike rates, they can be compared across goals. Only of goals where a
/// higher value is better.
fn throughput(rows: &[Row]) -> Chart {
    let is_rate = |row: &&Row| row.unit.ends_with("/s") && row.ratio.is_some();
    let rows: Vec<&Row> = rows.iter().filter(is_rate).collect();
    let column = |of: fn(&Row) -> Option<f64>| rows.iter().map(|row| of(row)).collect();
    Chart {
        name: "throughput",
        title: "Ours as a part of the ceiling: median, least and greatest round".into(),
        unit: "ceiling = 1",
        kind: Kind::Bars {
            labels: names(&rows),
            series: vec![
                ("least".to_owned(), column(|row| row.min)),
                ("median".to_owned(), column(|row| row.ratio)),
                ("greatest".to_owned(), column(|row| row.max)),
            ],
            logarithmic: false,
        },
    }
}

fn latency(rows: &[Row]) -> Chart {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.p50_ms.is_some()).collect();
    let column = |of: fn(&Row) -> Option<f64>| rows.iter().map(|row| of(row)).collect();
    Chart {
        name: "latency",
        title: "Latency under the load of each goal".into(),
        unit: "ms",
        kind: Kind::Bars {
            labels: names(&rows),
            series: vec![
                ("ceiling p50".to_owned(), column(|row| row.ceiling_p50_ms)),
                ("ours p50".to_owned(), column(|row| row.p50_ms)),
                ("ceiling p99".to_owned(), column(|row| row.ceiling_p99_ms)),
                ("ours p99".to_owned(), column(|row| row.p99_ms)),
            ],
            logarithmic: true,
        },
    }
}

/// The ids, with a letter where a goal has several lines.
fn names(rows: &[&Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(rows.len());
    for (nth, row) in rows.iter().enumerate() {
        let before = rows[..nth].iter().filter(|other| other.id == row.id).count();
        let letter = char::from(b'a' + u8::try_from(before.min(25)).unwrap_or(0));
        let several = rows.iter().filter(|other| other.id == row.id).count() > 1;
        names.push(if several { format!("{}{letter}", row.id) } else { row.id.to_owned() });
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goal::{Figure, Sample, Stat, judge};

    #[test]
    fn report_has_its_table_and_its_charts() {
        let ours = Stat { value: 5.0, p50_ms: Some(1.0), p99_ms: Some(2.0) };
        let figure = Figure {
            what: "create".into(),
            unit: "/s",
            samples: vec![Sample::new(Stat::of(10.0), ours)],
            ..Figure::default()
        };
        let start = Figure { unit: "ms", ..figure.clone() };
        let folder = tempfile::tempdir().unwrap();
        let rows = [
            judge("P1", &figure),
            judge("P1", &figure),
            judge("P5", &figure),
            judge("P16", &start),
        ];
        let circumstances = RunConditions {
            at: "2026-01-01T00:00:00Z".into(),
            rounds: 5,
            seconds: 5,
            quick: false,
            cores: 2,
            generator: 50_000.0,
        };
        write(folder.path(), &rows, vec![], &circumstances).unwrap();
        let text = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
        assert!(text.contains("| P1 | create |") && text.contains("(latency.svg)"), "{text}");
        assert!(folder.path().join("throughput.svg").exists());
        let Kind::Bars { labels, .. } = throughput(&rows).kind else { panic!("no bars") };
        assert_eq!(labels, ["P1a", "P1b", "P5"], "a cold start is not a rate");
    }
}
