//! The rules of a trace: (change, what the stores show of it) -> hops and state.
//!
//! Each hop leaves its time in the next store: the journal has when a change was requested and
//! committed, its message when it was published, and the listing when it was received and projected.
//! So a trace needs no tracing backend, works for a change that is stuck, and survives a restart.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::bus::postgres::Waiting;
use shared::bus::selection::DeadLetter;
use shared::contract::listing::{HOPS_KEPT, ListingItem};
use shared::id::{EventId, ProductId, RequestId};

/// The changes of a product, of a request or of an event.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trace {
    /// Oldest first.
    pub changes: Vec<TracedChange>,
    /// Whether older changes are left out: a trace has only the latest 50.
    pub cut: bool,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TracedChange {
    #[schema(value_type = Uuid)]
    pub product_id: ProductId,
    /// `product` or `stock`.
    pub aggregate: String,
    pub version: i64,
    /// Such as `created` or `updated`.
    pub change: String,
    #[schema(value_type = Uuid)]
    pub event_id: EventId,
    #[schema(value_type = Uuid)]
    pub request_id: RequestId,
    pub traceparent: String,
    /// The hops so far.
    pub hops: Vec<Hop>,
    /// The time between each hop and the next.
    pub gaps: Vec<Gap>,
    /// Where the change is now, in a sentence.
    pub state: String,
    /// Whether nothing is left to happen.
    pub complete: bool,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hop {
    /// `requested`, `committed`, `published`, `received` or `projected`; `buried` if it became a
    /// dead letter.
    pub name: String,
    pub at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gap {
    /// What the time was spent on, such as `in the outbox`.
    pub name: String,
    pub milliseconds: f64,
}

/// A change as the journal of inventory has it.
#[derive(Clone, Debug)]
pub(crate) struct RecordedChange {
    pub(crate) event_id: EventId,
    pub(crate) product_id: ProductId,
    /// `product` or `stock`.
    pub(crate) aggregate: String,
    pub(crate) version: i64,
    pub(crate) change: String,
    pub(crate) request_id: RequestId,
    pub(crate) traceparent: String,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) committed_at: DateTime<Utc>,
    /// Whether its event is still in the outbox.
    pub(crate) pending: bool,
}

/// What the stores behind the journal show of a product.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    pub(crate) listing: Option<ListingItem>,
    /// `None` for a queue that cannot be searched.
    pub(crate) waiting: Option<Vec<Waiting>>,
    pub(crate) dead: Vec<DeadLetter>,
}

/// A kind of hop, and what the time before it is spent on.
struct Stage {
    name: &'static str,
    gap: &'static str,
}

const REQUESTED: Stage = Stage { name: "requested", gap: "" };
const COMMITTED: Stage = Stage { name: "committed", gap: "writing" };
const PUBLISHED: Stage = Stage { name: "published", gap: "in the outbox" };
const RECEIVED: Stage = Stage { name: "received", gap: "in the queue" };
const PROJECTED: Stage = Stage { name: "projected", gap: "projecting" };
const DEAD_LETTERED: Stage = Stage { name: "buried", gap: "in the queue and its attempts" };

type Hops = Vec<(Stage, DateTime<Utc>)>;

/// Traces a change.
pub(crate) fn trace(change: &RecordedChange, sightings: &Sightings) -> TracedChange {
    let mut hops = vec![(REQUESTED, change.requested_at), (COMMITTED, change.committed_at)];
    let (state, complete) = follow(change, sightings, &mut hops);
    let gaps = hops
        .windows(2)
        .map(|pair| Gap {
            name: pair[1].0.gap.to_owned(),
            milliseconds: milliseconds(pair[0].1, pair[1].1),
        })
        .collect();
    TracedChange {
        product_id: change.product_id,
        aggregate: change.aggregate.clone(),
        version: change.version,
        change: change.change.clone(),
        event_id: change.event_id,
        request_id: change.request_id,
        traceparent: change.traceparent.clone(),
        hops: hops.iter().map(|(stage, at)| Hop { name: stage.name.to_owned(), at: *at }).collect(),
        gaps,
        state,
        complete,
    }
}

/// Adds the hops after the commit; returns the state and whether it is final.
fn follow(change: &RecordedChange, sightings: &Sightings, hops: &mut Hops) -> (String, bool) {
    let Sightings { listing, waiting, dead } = sightings;
    let listing = listing.as_ref();
    let hop = listing
        .and_then(|listing| listing.hops.iter().rev().find(|h| h.event_id == change.event_id));
    if let Some(hop) = hop {
        let times =
            [(PUBLISHED, hop.published), (RECEIVED, hop.received), (PROJECTED, hop.projected)];
        hops.extend(
            times.into_iter().filter_map(|(stage, micros)| {
                Some((stage, DateTime::from_timestamp_micros(micros)?))
            }),
        );
        return ("in the listing".to_owned(), true);
    }
    if let Some(dead) = dead.iter().find(|dead| dead.event_id == change.event_id) {
        hops.extend([(PUBLISHED, dead.sent_at), (DEAD_LETTERED, dead.dead_at)]);
        return (format!("dead letter {}: {}", dead.id, dead.reason), false);
    }
    let message = waiting.iter().flatten().find(|m| m.event_id == change.event_id);
    if let Some(message) = message {
        hops.push((PUBLISHED, message.sent_at));
        let state = match &message.last_failure {
            Some(failure) => format!("in the queue after {} attempts: {failure}", message.attempts),
            None if message.attempts > 0 => "being projected".to_owned(),
            None => "in the queue".to_owned(),
        };
        return (state, false);
    }
    if change.pending {
        return ("in the outbox".to_owned(), false);
    }
    let listed = listing.map_or(0, |listing| match change.aggregate.as_str() {
        "stock" => listing.stock_version,
        _ => listing.product_version,
    });
    if listed >= change.version {
        (format!("overtaken by a later change; a listing keeps the last {HOPS_KEPT}"), true)
    } else if waiting.is_some() {
        ("published, and in no queue: `vitrina sync` repairs it".to_owned(), false)
    } else {
        let state =
            "published, and not in the listing yet; if it stays so, `vitrina sync` repairs it";
        (state.to_owned(), false)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "microseconds for an operator to read"
)]
fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(i64::MAX) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(pending: bool) -> RecordedChange {
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        RecordedChange {
            event_id: EventId::from_u128(1),
            product_id: ProductId::from_u128(2),
            aggregate: "product".to_owned(),
            version: 3,
            change: "updated".to_owned(),
            request_id: RequestId::from_u128(4),
            traceparent: String::new(),
            requested_at: at,
            committed_at: at + chrono::TimeDelta::microseconds(1_500),
            pending,
        }
    }

    fn state(pending: bool, sightings: &Sightings) -> (String, bool) {
        let TracedChange { state, complete, .. } = trace(&change(pending), sightings);
        (state, complete)
    }

    #[test]
    fn pending_change_is_in_the_outbox_after_its_commit() {
        let traced = trace(&change(true), &Sightings::default());
        assert_eq!((traced.state.as_str(), traced.complete), ("in the outbox", false));
        let names: Vec<&str> = traced.hops.iter().map(|hop| hop.name.as_str()).collect();
        assert_eq!(names, ["requested", "committed"]);
        assert_eq!((traced.gaps.len(), traced.gaps[0].milliseconds), (1, 1.5));
    }

    #[test]
    fn published_change_is_lost_only_if_the_queue_was_searched() {
        let searched = Sightings { waiting: Some(Vec::new()), ..Sightings::default() };
        assert!(state(false, &searched).0.contains("in no queue"));
        assert!(state(false, &Sightings::default()).0.contains("not in the listing yet"));
    }

    #[test]
    fn change_is_overtaken_if_the_listing_has_its_version_or_more() {
        let listing =
            ListingItem { product_version: 3, ..ListingItem::empty(ProductId::from_u128(2)) };
        let sightings = Sightings { listing: Some(listing), ..Sightings::default() };
        let (state, complete) = state(false, &sightings);
        assert!(state.starts_with("overtaken") && complete, "{state}");
    }
}
