//! The report of the doctor, as text and as JSON.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) state: State,
    pub(super) detail: String,
    /// A suggested fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn warning(
        what: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { state: State::Warning, fix: Some(fix.into()), ..Self::ok(what, detail) }
    }

    pub(super) fn failed(
        what: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { state: State::Failed, ..Self::warning(what, detail, fix) }
    }
}

/// A setting and the source of its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// `flag`, `environment` or `default`.
    pub(super) source: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) settings: Vec<Setting>,
    pub(super) checks: Vec<Finding>,
}

impl Report {
    pub(super) fn has_failed(&self) -> bool {
        self.count(State::Failed) > 0
    }

    fn count(&self, state: State) -> usize {
        self.checks.iter().filter(|one| one.state == state).count()
    }

    pub(super) fn text(&self) -> String {
        let mut settings = table();
        settings.set_header(["Setting", "Value", "From"]);
        for setting in &self.settings {
            settings.add_row([setting.name, &setting.value, setting.source]);
        }
        let mut checks = table();
        checks.set_header(["Check", "State", "Found"]);
        for check in &self.checks {
            let found = match &check.fix {
                Some(fix) => format!("{}\n-> {fix}", check.detail),
                None => check.detail.clone(),
            };
            checks.add_row([check.what, check.state.as_str(), &found]);
        }
        let (failed, warnings) = (self.count(State::Failed), self.count(State::Warning));
        let verdict = match (failed, warnings) {
            (0, 0) => "No problems found.".to_owned(),
            (0, 1) => "No check failed; there is 1 warning.".to_owned(),
            (0, warnings) => format!("No check failed; there are {warnings} warnings."),
            (failed, 0) => format!("{failed} failed."),
            (failed, 1) => format!("{failed} failed, and there is 1 warning."),
            (failed, warnings) => format!("{failed} failed, and there are {warnings} warnings."),
        };
        format!("{}\n\n{}\n\n{verdict}", trimmed(&settings), trimmed(&checks))
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// Without the padding at the end of each line.
fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_and_its_fix_are_separate_lines() {
        let report = Report {
            settings: vec![Setting {
                name: "VITRINA_LISTEN",
                value: "127.0.0.1:8080".to_owned(),
                source: "default",
            }],
            checks: vec![
                Finding::ok("disk", "5 GB free"),
                Finding::failed("port", "it is taken", "stop its holder"),
            ],
        };
        let text = report.text();
        for part in ["ok", "5 GB free", "failed", "-> stop its holder", "1 failed."] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(report.has_failed());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"][1]["state"], "failed");
        assert_eq!(json["checks"][0].get("fix"), None);
    }
}
