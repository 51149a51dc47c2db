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

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::id::{EventId, ProductId, RequestId};
    use sync::{Gap, Hop};

    use super::*;

    fn hop(name: &str, microseconds: i64) -> Hop {
        let at = DateTime::from_timestamp_micros(1_790_000_000_000_000 + microseconds).unwrap();
        Hop { name: name.to_owned(), at }
    }

    fn gap(name: &str, milliseconds: f64) -> Gap {
        Gap { name: name.to_owned(), milliseconds }
    }

    #[test]
    fn each_hop_is_a_line_with_its_time_and_the_gap_before_it() {
        let change = TracedChange {
            product_id: ProductId::from_u128(1),
            aggregate: "stock".to_owned(),
            version: 7,
            change: "adjusted".to_owned(),
            event_id: EventId::from_u128(2),
            request_id: RequestId::from_u128(3),
            traceparent: String::new(),
            hops: vec![hop("requested", 0), hop("committed", 1_500), hop("published", 4_001_750)],
            gaps: vec![gap("writing", 1.5), gap("in the outbox", 4_000.25)],
            state: "in the queue".to_owned(),
            complete: false,
        };
        let expected = "\
            stock 00000000-0000-0000-0000-000000000001 version 7, adjusted: in the queue\n  \
            event 00000000-0000-0000-0000-000000000002  \
            request 00000000-0000-0000-0000-000000000003\n  \
            requested  2026-09-21T14:13:20.000000Z\n  \
            committed  2026-09-21T14:13:20.001500Z  +1.500 ms writing\n  \
            published  2026-09-21T14:13:24.001750Z  +4000.250 ms in the outbox\n";
        let mut trace = Trace { changes: vec![change], cut: false };
        assert_eq!(describe(&trace), expected);
        trace.cut = true;
        let hint = "\nonly the latest 1 changes; find an older one by the id of its request or \
                    event\n";
        assert_eq!(describe(&trace), format!("{expected}{hint}"));
    }
}
