//! `vitrina sync`: requests a reconciliation, follows it to the end and reports differences.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::json;
use shared::config::Settings;
use sync::Run;

use crate::client::remote::Remote;
use crate::console::exit::{FOUND, OK};
use crate::console::global::Global;
use crate::console::output::print;
use crate::console::progress::{Progress, Style, Unit};
use crate::edition::parts::sync::SYNC;

/// The pause between two polls of the run.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    remote: Remote,
    /// Recompute the hashes of the stored documents
    #[arg(long)]
    deep: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: SyncArgs) -> anyhow::Result<u8> {
    let client = args.remote.operator(global, Some(SYNC))?;
    let requested: Run =
        client.post("/v1/admin/reconciliations", &json!({ "deep": args.deep })).await?;
    let path = format!("/v1/admin/reconciliations/{}", requested.id);
    let style = Style::read(&Settings::from_env());
    let total = count(requested.progress.buckets);
    let progress = Progress::begin(style, "comparing", total, Unit::Items("buckets"));
    let mut done = 0;
    let report = loop {
        let report: Run = client.get(&path).await?;
        let now_done = count(report.progress.buckets_done);
        progress.add(now_done.saturating_sub(done));
        done = now_done;
        if report.finished_at.is_some() {
            break report;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    drop(progress);
    if args.json {
        print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        print(&table(&report).to_string())?;
    }
    Ok(if report.findings.differences() == 0 { OK } else { FOUND })
}

fn count(buckets: i32) -> u64 {
    buckets.try_into().unwrap_or_default()
}

fn table(report: &Run) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |name: &str, value: String, meaning: &str| {
        table.add_row([name, &value, meaning]);
    };
    row("compared", report.findings.compared.to_string(), "products in either store");
    row("missing", report.findings.missing.to_string(), "products without a listing");
    row("stale", report.findings.stale.to_string(), "listings older than their products");
    row("ahead", report.findings.ahead.to_string(), "listings newer than their products");
    row("extra", report.findings.extra.to_string(), "listings without a product");
    row("altered", report.findings.altered.to_string(), "listings with other content");
    row("stock", report.findings.stock.to_string(), "listings with other stock");
    row("repaired", report.findings.repaired.to_string(), "products published again");
    row("moving", report.findings.moving.to_string(), "still changing, left for the next pass");
    let oldest = report.findings.oldest_divergence.map_or_else(
        || "none".to_owned(),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    );
    row("oldest", oldest, "earliest time at which a difference can have arisen");
    row("read units", format!("{:.1}", report.read_units), "read capacity that DynamoDB charged");
    if let Some(finished) = report.finished_at {
        let seconds = (finished - report.requested_at).num_milliseconds();
        row("took", format!("{}.{:03} s", seconds / 1000, seconds % 1000), "");
    }
    table
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use shared::id::RunId;
    use sync::{BucketProgress, Findings, State};

    use super::*;
    use crate::console::output::rows;

    #[test]
    fn report_shows_each_number_in_its_row() {
        let requested_at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let report = Run {
            id: RunId::from_u128(1),
            state: State::Finished,
            deep: true,
            requested_at,
            requested_by: None,
            started_at: Some(requested_at + TimeDelta::seconds(1)),
            finished_at: Some(requested_at + TimeDelta::milliseconds(62_045)),
            progress: BucketProgress { buckets_done: 1024, buckets: 1024 },
            findings: Findings {
                compared: 29,
                missing: 1,
                stale: 2,
                ahead: 3,
                extra: 4,
                altered: 5,
                stock: 6,
                moving: 7,
                repaired: 20,
                oldest_divergence: Some(requested_at - TimeDelta::milliseconds(2_500)),
            },
            read_units: 540.5,
        };
        let rows = rows(&table(&report).to_string());
        let expected = [
            "compared 29 products in either store",
            "missing 1 products without a listing",
            "stale 2 listings older than their products",
            "ahead 3 listings newer than their products",
            "extra 4 listings without a product",
            "altered 5 listings with other content",
            "stock 6 listings with other stock",
            "repaired 20 products published again",
            "moving 7 still changing, left for the next pass",
            "oldest 2026-09-21T14:13:17.500Z earliest time at which a difference can have arisen",
            "read units 540.5 read capacity that DynamoDB charged",
            "took 62.045 s",
        ];
        assert_eq!(rows, expected);
    }
}
