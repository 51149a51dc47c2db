//! The table with one line for each figure.

use comfy_table::{ContentArrangement, Table, presets};

use crate::goal::Row;

/// The names of the columns.
const HEADER: [&str; 10] =
    ["", "what", "ceiling", "ours", "ratio", "min .. max", "p50 ms", "p99 ms", "goal", "met"];

/// The table for a terminal.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(HEADER);
    for row in rows {
        table.add_row(cells(row));
    }
    let notes: Vec<String> = notes(rows).collect();
    if notes.is_empty() { table.to_string() } else { format!("{table}\n\n{}", notes.join("\n")) }
}

/// The table in Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&HEADER.map(ToOwned::to_owned));
    table.push_str("|---|---|--:|--:|--:|---|--:|--:|---|---|\n");
    for row in rows {
        table.push_str(&line(&cells(row)));
    }
    let notes: Vec<String> = notes(rows).map(|note| format!("- {note}\n")).collect();
    if notes.is_empty() { table } else { format!("{table}\n{}", notes.concat()) }
}

fn notes(rows: &[Row]) -> impl Iterator<Item = String> {
    rows.iter().filter_map(|row| Some(format!("{}, {}: {}", row.id, row.what, row.note.as_ref()?)))
}

fn cells(row: &Row) -> [String; 10] {
    let unit = |value: Option<f64>| value.map_or_else(String::new, |v| with_unit(v, row.unit));
    let plain = |value: Option<f64>| value.map_or_else(String::new, short);
    let ends = match (row.min, row.max) {
        (Some(min), Some(max)) => format!("{min:.2} .. {max:.2}"),
        _ => String::new(),
    };
    [
        row.id.to_owned(),
        row.what.clone(),
        unit(row.ceiling),
        unit(row.ours),
        row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        ends,
        plain(row.p50_ms),
        plain(row.p99_ms),
        row.goal.clone(),
        match row.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        }
        .to_owned(),
    ]
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", short(value)).trim_end().to_owned()
}

/// A value with about three digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => format!("{:.1} k", value / 1000.0),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goal::{Bound, Figure, Measure, Sample, Stat, judge};

    fn row(bounds: Vec<Bound>) -> Row {
        let ours = Stat { value: 5_600.0, p50_ms: Some(5.25), p99_ms: Some(12.0) };
        let sample = Sample::new(Stat::of(12_340.0), ours);
        let note = Some("seen once".to_owned());
        judge(
            "P1",
            &Figure { what: "create".into(), unit: "/s", bounds, samples: vec![sample], note },
        )
    }

    #[test]
    fn row_shows_ceiling_ours_and_ratio() {
        let shown = text(&[row(vec![Bound::AtLeast(Measure::Ratio, 0.5)])]);
        for part in ["12.3 k /s", "5600 /s", "0.45", "5.25", "12.0", "ratio ≥ 0.50", "NOT MET"] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
        assert!(shown.contains("P1, create: seen once"), "{shown}");
    }

    #[test]
    fn markdown_has_a_line_for_each_row_below_its_header() {
        let shown = markdown(&[row(vec![]), row(vec![])]);
        let lines = shown.lines().take_while(|line| line.starts_with('|'));
        let widths: Vec<usize> = lines.map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [11; 4]);
    }
}
