//! `vitrina status`: the delay of the catalogue, pending work and dead letters.

use std::fmt::Write as _;

use axum::http::Method;
use chrono::{DateTime, Utc};
use comfy_table::{Table, presets};
use inventory::Backlog;
use serde::Serialize;
use shared::clock::Clock;
use shared::http::page::Page;
use sync::{Queues, Run, State};

use crate::client::remote::Remote;
use crate::client::{Client, ClientError};
use crate::console::exit::{FOUND, OK};
use crate::console::global::Global;
use crate::console::output::print;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    remote: Remote,
    /// Format of the result; `env` prints NAME=value lines for a shell
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Env,
}

/// The state of an edition.
#[derive(Debug, PartialEq, Serialize)]
struct Status {
    outbox_pending: i64,
    /// In seconds; `None` if nothing is pending.
    outbox_oldest_age: Option<i64>,
    /// Repairs that a reconciliation requested and the relay has not published.
    repairs_pending: i64,
    queue_visible: i64,
    queue_in_flight: i64,
    dead_letters: i64,
    /// Milliseconds from commit to visible since the edition started. `None` before the first
    /// sample, and for an edition with its metrics elsewhere.
    lag_p50: Option<f64>,
    lag_p99: Option<f64>,
    last_reconciliation: Option<DateTime<Utc>>,
    last_differences: Option<i64>,
}

impl Status {
    /// Sums the responses of an edition up. `runs` are the newest first.
    fn new(
        outbox: &Backlog,
        queues: &Queues,
        runs: &[Run],
        lag: &Histogram,
        now: DateTime<Utc>,
    ) -> Self {
        let last = runs.iter().find(|run| run.state == State::Finished);
        let age = outbox.oldest_committed_at.map(|at| (now - at).num_seconds().max(0));
        Self {
            outbox_pending: outbox.pending,
            outbox_oldest_age: age,
            repairs_pending: outbox.repairs,
            queue_visible: queues.data.iter().map(|queue| queue.visible).sum(),
            queue_in_flight: queues.data.iter().map(|queue| queue.in_flight).sum(),
            dead_letters: queues.data.iter().map(|queue| queue.dead_letters).sum(),
            lag_p50: lag.quantile(50),
            lag_p99: lag.quantile(99),
            last_reconciliation: last.and_then(|run| run.finished_at),
            last_differences: last.map(|run| run.findings.differences()),
        }
    }
}

pub(crate) async fn run(global: &Global, args: StatusArgs) -> anyhow::Result<u8> {
    let client = args.remote.operator(global, None)?;
    let outbox: Backlog = client.get("/v1/admin/outbox").await?;
    let queues: Queues = client.get("/v1/admin/queues").await?;
    let runs: Page<Run> = client.get("/v1/admin/reconciliations?limit=20").await?;
    let lag = Histogram::read(&metrics(&client).await?, "vitrina_lag_seconds");
    let status = Status::new(&outbox, &queues, &runs.data, &lag, Clock::System.now());
    match args.output {
        Format::Table => print(&table(&status).to_string())?,
        Format::Json => print(&serde_json::to_string_pretty(&status)?)?,
        Format::Env => print(env(&status)?.trim_end())?,
    }
    Ok(if status.dead_letters > 0 { FOUND } else { OK })
}

/// The metrics of an edition that is one process: the lag is in no other response. The AWS edition has no
/// such page: empty.
async fn metrics(client: &Client) -> Result<String, ClientError> {
    match client.call(Method::GET, "/metrics").send_raw().await {
        Ok(response) => Ok(String::from_utf8_lossy(&response.body).into_owned()),
        Err(error) if error.status() == Some(404) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn table(status: &Status) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let age = status.outbox_oldest_age.map_or_else(String::new, |age| format!(", oldest {age} s"));
    table.add_row(["outbox", &format!("{} pending{age}", status.outbox_pending)]);
    table.add_row(["repairs", &format!("{} pending", status.repairs_pending)]);
    let queue = format!("{} visible, {} in flight", status.queue_visible, status.queue_in_flight);
    table.add_row(["queue", &queue]);
    table.add_row(["dead letters", &status.dead_letters.to_string()]);
    let lag = match (status.lag_p50, status.lag_p99) {
        (Some(p50), Some(p99)) => format!("p50 <= {p50} ms, p99 <= {p99} ms"),
        _ => "not measured here yet".to_owned(),
    };
    table.add_row(["lag", &lag]);
    let last = match (status.last_reconciliation, status.last_differences) {
        (Some(at), Some(differences)) => {
            let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
            format!("{at}, {differences} differences")
        }
        _ => "none finished yet".to_owned(),
    };
    table.add_row(["reconciliation", &last]);
    table
}

fn env(status: &Status) -> anyhow::Result<String> {
    let mut lines = String::new();
    if let serde_json::Value::Object(fields) = serde_json::to_value(status)? {
        for (name, value) in fields {
            let value = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            let _ = writeln!(lines, "VITRINA_{}={value}", name.to_uppercase());
        }
    }
    Ok(lines)
}

/// A Prometheus histogram: upper bounds, with the number of samples at or below each.
#[derive(Debug, Default, PartialEq)]
struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    fn read(metrics: &str, name: &str) -> Self {
        let prefix = format!("{name}_bucket{{");
        let buckets = metrics.lines().filter_map(|line| {
            let (labels, count) = line.strip_prefix(&prefix)?.rsplit_once("} ")?;
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
            Some((bound.parse().ok()?, count.parse().ok()?))
        });
        Self(buckets.collect())
    }

    /// The smallest bound, in milliseconds, that `percent` of the samples do not exceed.
    #[expect(clippy::float_arithmetic, reason = "seconds to milliseconds, for display")]
    fn quantile(&self, percent: u64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0)?;
        let rank = (total * percent).div_ceil(100);
        let (bound, _) = self.0.iter().find(|(_, count)| *count >= rank)?;
        Some((bound * 1000.0).round())
    }
}

#[cfg(test)]
mod tests {
    use shared::bus::message::QueueDepth;
    use shared::id::RunId;
    use sync::{BucketProgress, Findings};

    use super::*;
    use crate::console::output::rows;

    const METRICS: &str = "\
        # TYPE vitrina_lag_seconds histogram\n\
        vitrina_lag_seconds_bucket{le=\"0.005\"} 90\n\
        vitrina_lag_seconds_bucket{le=\"0.1\"} 98\n\
        vitrina_lag_seconds_bucket{le=\"1\"} 100\n\
        vitrina_lag_seconds_bucket{le=\"+Inf\"} 100\n\
        vitrina_lag_seconds_sum 3.5\n\
        other_seconds_bucket{le=\"0.005\"} 7\n";

    #[test]
    fn quantile_is_the_smallest_bound_that_holds_enough_samples() {
        let lag = Histogram::read(METRICS, "vitrina_lag_seconds");
        assert_eq!(lag.quantile(50), Some(5.0));
        assert_eq!(lag.quantile(95), Some(100.0));
        assert_eq!(lag.quantile(99), Some(1000.0));
        let two = "lag_bucket{le=\"0.005\"} 0\nlag_bucket{le=\"0.1\"} 1\nlag_bucket{le=\"1\"} 2\n";
        let two = Histogram::read(two, "lag");
        assert_eq!(
            [1, 50, 51, 99].map(|percent| two.quantile(percent)),
            [100.0, 100.0, 1000.0, 1000.0].map(Some)
        );
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
    }

    fn depth(queue: &str, visible: i64, in_flight: i64, dead_letters: i64) -> QueueDepth {
        let (queue, oldest_sent_at) = (queue.to_owned(), Some(at(1)));
        QueueDepth { queue, visible, in_flight, dead_letters, oldest_sent_at }
    }

    fn run(state: State, finished_at: Option<DateTime<Utc>>, stale: i64) -> Run {
        Run {
            id: RunId::from_u128(1),
            state,
            deep: false,
            requested_at: at(10),
            requested_by: None,
            started_at: Some(at(20)),
            finished_at,
            progress: BucketProgress { buckets_done: 8, buckets: 1024 },
            findings: Findings { missing: 4, stale, ..Findings::default() },
            read_units: 1.5,
        }
    }

    /// Two queues, a run in progress, a superseded run, and two that finished.
    fn status() -> Status {
        let outbox = Backlog { pending: 7, oldest_committed_at: Some(at(100)), repairs: 5 };
        let queues = Queues { data: vec![depth("catalog", 3, 2, 1), depth("returns", 30, 20, 10)] };
        let runs = [
            run(State::Running, None, 100),
            run(State::Superseded, Some(at(40)), 200),
            run(State::Finished, Some(at(30)), 13),
            run(State::Finished, Some(at(25)), 400),
        ];
        let lag = Histogram::read(METRICS, "vitrina_lag_seconds");
        let now = at(187) + chrono::TimeDelta::milliseconds(900);
        Status::new(&outbox, &queues, &runs, &lag, now)
    }

    fn empty() -> Status {
        let outbox = Backlog { pending: 0, oldest_committed_at: None, repairs: 0 };
        Status::new(&outbox, &Queues { data: Vec::new() }, &[], &Histogram::default(), at(0))
    }

    #[test]
    fn status_sums_queues_and_reports_the_last_finished_run() {
        let expected = Status {
            outbox_pending: 7,
            outbox_oldest_age: Some(87),
            repairs_pending: 5,
            queue_visible: 33,
            queue_in_flight: 22,
            dead_letters: 11,
            lag_p50: Some(5.0),
            lag_p99: Some(1_000.0),
            last_reconciliation: Some(at(30)),
            last_differences: Some(17),
        };
        assert_eq!(status(), expected);
    }

    #[test]
    fn age_is_never_negative_if_the_clocks_differ() {
        let outbox = Backlog { pending: 1, oldest_committed_at: Some(at(9)), repairs: 0 };
        let queues = Queues { data: Vec::new() };
        let status = Status::new(&outbox, &queues, &[], &Histogram::default(), at(0));
        assert_eq!(status.outbox_oldest_age, Some(0));
    }

    #[test]
    fn table_shows_each_number_in_its_row() {
        let expected = [
            "outbox 7 pending, oldest 87 s",
            "repairs 5 pending",
            "queue 33 visible, 22 in flight",
            "dead letters 11",
            "lag p50 <= 5 ms, p99 <= 1000 ms",
            "reconciliation 2026-09-21T14:13:50Z, 17 differences",
        ];
        assert_eq!(rows(&table(&status()).to_string()), expected);
        let expected = [
            "outbox 0 pending",
            "repairs 0 pending",
            "queue 0 visible, 0 in flight",
            "dead letters 0",
            "lag not measured here yet",
            "reconciliation none finished yet",
        ];
        assert_eq!(rows(&table(&empty()).to_string()), expected);
    }

    #[test]
    fn json_and_variables_have_each_number_under_its_name() {
        let expected = serde_json::json!({
            "outbox_pending": 7, "outbox_oldest_age": 87, "repairs_pending": 5,
            "queue_visible": 33, "queue_in_flight": 22, "dead_letters": 11, "lag_p50": 5.0,
            "lag_p99": 1_000.0, "last_reconciliation": "2026-09-21T14:13:50Z",
            "last_differences": 17,
        });
        assert_eq!(serde_json::to_value(status()).unwrap(), expected);
        let mut lines: Vec<String> = env(&status()).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        let expected = [
            "VITRINA_DEAD_LETTERS=11",
            "VITRINA_LAG_P50=5.0",
            "VITRINA_LAG_P99=1000.0",
            "VITRINA_LAST_DIFFERENCES=17",
            "VITRINA_LAST_RECONCILIATION=2026-09-21T14:13:50Z",
            "VITRINA_OUTBOX_OLDEST_AGE=87",
            "VITRINA_OUTBOX_PENDING=7",
            "VITRINA_QUEUE_IN_FLIGHT=22",
            "VITRINA_QUEUE_VISIBLE=33",
            "VITRINA_REPAIRS_PENDING=5",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn quantile_is_none_without_samples() {
        assert_eq!(Histogram::read("", "vitrina_lag_seconds").quantile(50), None);
    }
}
