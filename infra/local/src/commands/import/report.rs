//! The report of an import.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

use super::row::RowFault;

/// The most faults to list; the others are only counted.
const MAX_FAULTS: usize = 100;

#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) dry_run: bool,
    /// Rows read, without the header.
    pub(super) rows: u64,
    pub(super) created: u64,
    /// Rows with a product that already exists and matches.
    pub(super) already_there: u64,
    /// Rows with faults.
    pub(super) failed: u64,
    /// The number of faults in all rows.
    fault_count: u64,
    /// The first faults, in the order of the file.
    faults: Vec<RowFault>,
    /// Why the import stopped before the end of the file.
    pub(super) stopped: Option<String>,
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub(super) took: Duration,
}

fn milliseconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { dry_run, ..Self::default() }
    }

    pub(super) fn add_faults(&mut self, faults: Vec<RowFault>) {
        self.fault_count += faults.len() as u64;
        let room = MAX_FAULTS.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
    }

    pub(super) fn is_good(&self) -> bool {
        self.failed == 0 && self.stopped.is_none()
    }

    /// The report as text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            let column =
                fault.column.as_ref().map_or_else(String::new, |column| format!(", {column}"));
            // Writing to a string cannot fail.
            let _ =
                writeln!(text, "line {}{column}: {} ({})", fault.line, fault.detail, fault.code);
        }
        let more = self.fault_count - self.faults.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "and {} more", HumanCount(more));
        }
        let rows = HumanCount(self.rows);
        let failed = HumanCount(self.failed);
        let millis = self.took.as_millis();
        let seconds = format!("{}.{} s", millis / 1000, millis % 1000 / 100);
        let _ = if self.dry_run {
            let good = HumanCount(self.rows - self.failed);
            write!(
                text,
                "{rows} rows: {good} valid, {failed} invalid; nothing was written ({seconds})"
            )
        } else {
            write!(
                text,
                "{rows} rows: {} created, {} already there, {failed} failed ({seconds})",
                HumanCount(self.created),
                HumanCount(self.already_there),
            )
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: u64) -> RowFault {
        RowFault {
            line,
            column: Some("price".to_owned()),
            code: "invalid".to_owned(),
            detail: "must be 0 to 10^12".to_owned(),
        }
    }

    #[test]
    fn all_faults_are_counted_and_the_first_hundred_listed() {
        let mut report = Report {
            rows: 1_500,
            failed: 1_000,
            created: 499,
            already_there: 1,
            took: Duration::from_millis(2_340),
            ..Report::default()
        };
        report.add_faults((2..1_002).map(fault).collect());
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 102);
        assert_eq!(lines[0], "line 2, price: must be 0 to 10^12 (invalid)");
        assert_eq!(lines[100], "and 900 more");
        assert_eq!(lines[101], "1,500 rows: 499 created, 1 already there, 1,000 failed (2.3 s)");
        assert!(!report.is_good());
    }
}
