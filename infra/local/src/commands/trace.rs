//! `vitrina trace`: the path of a change, hop by hop.

use std::fmt::Write as _;

use sync::{Trace, TracedChange};
use uuid::Uuid;

use crate::client::remote::Remote;
use crate::console::exit::{FAILED, OK};
use crate::console::global::Global;
use crate::console::output::{Output, OutputArgs};
use crate::console::output::{print, say};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// Id of a product, a request (`X-Request-Id`) or an event
    id: Uuid,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(global: &Global, args: TraceArgs) -> anyhow::Result<u8> {
    let client = args.remote.operator(global, None)?;
    let found = client.get::<Trace>(&format!("/v1/admin/trace/{}", args.id)).await;
    let trace = match found {
        Err(error) if error.is("not_found") => {
            say(&format!("vitrina: no product, request or event has the id {}", args.id));
            return Ok(FAILED);
        }
        found => found?,
    };
    match args.output.output {
        Output::Json => print(&serde_json::to_string_pretty(&trace)?)?,
        Output::Text => print(&describe(&trace))?,
    }
    Ok(OK)
}

fn describe(trace: &Trace) -> String {
    let changes: Vec<String> = trace.changes.iter().map(describe_change).collect();
    let mut text = changes.join("\n");
    if trace.cut {
        let _ = writeln!(
            text,
            "\nonly the latest {} changes; find an older one by the id of its request or event",
            trace.changes.len()
        );
    }
    text
}

fn describe_change(change: &TracedChange) -> String {
    let mut text = format!(
        "{} {} version {}, {}: {}\n  event {}  request {}\n",
        change.aggregate,
        change.product_id,
        change.version,
        change.change,
        change.state,
        change.event_id,
        change.request_id,
    );
    for (index, hop) in change.hops.iter().enumerate() {
        let at = hop.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        // The gap before a hop is the time since the previous hop.
        let gap = index.checked_sub(1).and_then(|before| change.gaps.get(before));
        let gap = gap
            .map_or_else(String::new, |gap| format!("  +{:.3} ms {}", gap.milliseconds, gap.name));
        let _ = writeln!(text, "  {:<10} {at}{gap}", hop.name);
    }
    text
}
