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

pub(crate) async fn run(global: &Global, args: StatusArgs) -> anyhow::Result<u8> {
    let client = args.remote.operator(global, None)?;
    let outbox: Backlog = client.get("/v1/admin/outbox").await?;
    let queues: Queues = client.get("/v1/admin/queues").await?;
    let runs: Page<Run> = client.get("/v1/admin/reconciliations?limit=20").await?;
    let lag = Histogram::read(&metrics(&client).await?, "vitrina_lag_seconds");
    let last = runs.data.iter().find(|run| run.state == State::Finished);
    let now = Clock::System.now();
    let status = Status {
        outbox_pending: outbox.pending,
        outbox_oldest_age: outbox.oldest_committed_at.map(|at| (now - at).num_seconds().max(0)),
        repairs_pending: outbox.repairs,
        queue_visible: queues.data.iter().map(|queue| queue.visible).sum(),
        queue_in_flight: queues.data.iter().map(|queue| queue.in_flight).sum(),
        dead_letters: queues.data.iter().map(|queue| queue.dead_letters).sum(),
        lag_p50: lag.quantile(50),
        lag_p99: lag.quantile(99),
        last_reconciliation: last.and_then(|run| run.finished_at),
        last_differences: last.map(|run| run.findings.differences()),
    };
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
    use super::*;

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
    }

    #[test]
    fn quantile_is_none_without_samples() {
        assert_eq!(Histogram::read("", "vitrina_lag_seconds").quantile(50), None);
    }
}
