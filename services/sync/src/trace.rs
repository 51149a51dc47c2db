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
    /// Whether there is a listing that cannot be read.
    pub(crate) is_damaged: bool,
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
    let Sightings { listing, is_damaged, waiting, dead } = sightings;
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
    if *is_damaged {
        let state = "published, and the listing is damaged: `vitrina sync --deep` repairs it";
        return (state.to_owned(), false);
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

    #[test]
    fn pending_change_is_in_the_outbox_after_its_commit() {
        let traced = trace(&change(true), &Sightings::default());
        assert_eq!((traced.state.as_str(), traced.complete), ("in the outbox", false));
        let names: Vec<&str> = traced.hops.iter().map(|hop| hop.name.as_str()).collect();
        assert_eq!(names, ["requested", "committed"]);
        assert_eq!((traced.gaps.len(), traced.gaps[0].milliseconds), (1, 1.5));
    }

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_790_000_000_000_000 + micros).unwrap()
    }

    /// A listing of the product, with a hop of each of these events.
    fn listing(product_version: i64, stock_version: i64, hops: &[u128]) -> Sightings {
        let hop = |id: &u128| shared::contract::listing::Hop {
            event_id: EventId::from_u128(*id),
            position: 9,
            published: at(2_000).timestamp_micros(),
            received: at(4_000).timestamp_micros(),
            projected: at(8_000).timestamp_micros(),
        };
        let hops = hops.iter().map(hop).collect();
        let empty = ListingItem::empty(ProductId::from_u128(2));
        let listing = ListingItem { product_version, stock_version, hops, ..empty };
        Sightings { listing: Some(listing), ..Sightings::default() }
    }

    fn waiting(id: u128, attempts: i32, last_failure: Option<&str>) -> Waiting {
        Waiting {
            event_id: EventId::from_u128(id),
            attempts,
            sent_at: at(2_000),
            last_failure: last_failure.map(ToOwned::to_owned),
        }
    }

    fn dead(id: u128) -> DeadLetter {
        DeadLetter {
            id: 77,
            queue: "catalog".to_owned(),
            event_id: EventId::from_u128(id),
            event_type: "ProductUpdated".to_owned(),
            subject: uuid::Uuid::nil(),
            reason: "no luck".to_owned(),
            attempts: 5,
            sent_at: at(2_000),
            dead_at: at(9_000),
        }
    }

    #[test]
    fn change_that_was_repaired_is_traced_by_its_last_arrival() {
        let mut seen = listing(3, 0, &[1, 5, 1]);
        let hop = &mut seen.listing.as_mut().unwrap().hops[2];
        (hop.published, hop.received, hop.projected) = (
            at(60_000).timestamp_micros(),
            at(61_000).timestamp_micros(),
            at(62_000).timestamp_micros(),
        );
        let traced = trace(&change(false), &seen);
        let times: Vec<DateTime<Utc>> = traced.hops[2..].iter().map(|hop| hop.at).collect();
        assert_eq!(times, [at(60_000), at(61_000), at(62_000)]);
    }

    const OUTBOX: &str = "in the outbox";
    const QUEUED: &str = "in the queue";
    const LISTED: &str = "in the listing";
    const DEAD: &str = "dead letter 77: no luck";
    const LOST: &str = "published, and in no queue: `vitrina sync` repairs it";
    const UNSEEN: &str =
        "published, and not in the listing yet; if it stays so, `vitrina sync` repairs it";
    const DAMAGED: &str = "published, and the listing is damaged: `vitrina sync --deep` repairs it";
    const OVERTAKEN: &str = "overtaken by a later change; a listing keeps the last 4";

    const PUBLISHED_AT: (&str, i64) = ("published", 2_000);
    const ALL_HOPS: &[(&str, i64)] = &[PUBLISHED_AT, ("received", 4_000), ("projected", 8_000)];

    /// The aggregate, whether its event is pending, what the stores show, and the state, whether it is final,
    /// and the hops after the commit that follow.
    type Case<'a> = (&'a str, bool, Sightings, (&'a str, bool), &'static [(&'static str, i64)]);

    #[test]
    fn each_state_follows_from_what_the_stores_show() {
        let none = Sightings::default;
        let queue = |messages: &[Waiting]| Sightings { waiting: Some(messages.to_vec()), ..none() };
        let with_dead = |it: Sightings, ids: &[u128]| Sightings {
            dead: ids.iter().copied().map(dead).collect(),
            ..it
        };
        let damaged = || Sightings { is_damaged: true, ..queue(&[]) };
        let searched = |it: Sightings| Sightings { waiting: Some(Vec::new()), ..it };
        // Version 3 of a product or of a stock, whose event has the id 1.
        let cases: Vec<Case<'_>> = vec![
            ("product", true, none(), (OUTBOX, false), &[]),
            ("product", true, queue(&[]), (OUTBOX, false), &[]),
            ("product", true, damaged(), (OUTBOX, false), &[]),
            ("product", true, listing(3, 3, &[]), (OUTBOX, false), &[]),
            ("stock", false, queue(&[waiting(1, 0, None)]), (QUEUED, false), &[PUBLISHED_AT]),
            (
                "product",
                false,
                queue(&[waiting(5, 0, Some("other")), waiting(1, 1, None)]),
                ("being projected", false),
                &[PUBLISHED_AT],
            ),
            (
                "product",
                false,
                queue(&[waiting(1, 2, Some("no luck")), waiting(5, 0, None)]),
                ("in the queue after 2 attempts: no luck", false),
                &[PUBLISHED_AT],
            ),
            // The relay deletes an event from the outbox after it has published it.
            ("product", true, queue(&[waiting(1, 0, None)]), (QUEUED, false), &[PUBLISHED_AT]),
            (
                "product",
                false,
                with_dead(queue(&[waiting(5, 0, None)]), &[5, 1]),
                (DEAD, false),
                &[PUBLISHED_AT, ("buried", 9_000)],
            ),
            ("product", false, with_dead(queue(&[]), &[5]), (LOST, false), &[]),
            ("product", false, with_dead(none(), &[5]), (UNSEEN, false), &[]),
            ("product", false, listing(3, 0, &[5, 1, 6]), (LISTED, true), ALL_HOPS),
            // It was redriven, or is delivered twice.
            ("product", true, with_dead(listing(3, 0, &[1]), &[1]), (LISTED, true), ALL_HOPS),
            ("product", false, damaged(), (DAMAGED, false), &[]),
            (
                "product",
                false,
                Sightings { is_damaged: true, ..queue(&[waiting(1, 0, None)]) },
                (QUEUED, false),
                &[PUBLISHED_AT],
            ),
            ("product", false, searched(listing(3, 0, &[5])), (OVERTAKEN, true), &[]),
            ("product", false, searched(listing(4, 0, &[])), (OVERTAKEN, true), &[]),
            ("product", false, searched(listing(2, 9, &[5])), (LOST, false), &[]),
            ("product", false, listing(2, 9, &[5]), (UNSEEN, false), &[]),
            ("stock", false, searched(listing(0, 3, &[5])), (OVERTAKEN, true), &[]),
            ("stock", false, searched(listing(0, 4, &[])), (OVERTAKEN, true), &[]),
            ("stock", false, searched(listing(9, 2, &[5])), (LOST, false), &[]),
            ("stock", false, listing(9, 2, &[5]), (UNSEEN, false), &[]),
            ("product", false, queue(&[]), (LOST, false), &[]),
            ("stock", false, none(), (UNSEEN, false), &[]),
        ];
        for (aggregate, pending, sightings, (state, complete), after_commit) in cases {
            let change = RecordedChange { aggregate: aggregate.to_owned(), ..change(pending) };
            let traced = trace(&change, &sightings);
            let what = format!("{aggregate}, pending: {pending}, {sightings:?}");
            assert_eq!((traced.state.as_str(), traced.complete), (state, complete), "{what}");
            let hops = [("requested", 0), ("committed", 1_500)].into_iter();
            let hops: Vec<_> = hops.chain(after_commit.iter().copied()).collect();
            let found = traced.hops.iter().map(|hop| (hop.name.as_str(), hop.at));
            let expected = hops.iter().map(|(name, micros)| (*name, at(*micros)));
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{what}");
            let found = traced.gaps.iter().map(|gap| (gap.name.as_str(), gap.milliseconds));
            let gap = |pair: &[(&str, i64)]| {
                let name = match pair[1].0 {
                    "committed" => "writing",
                    "published" => "in the outbox",
                    "received" => "in the queue",
                    "projected" => "projecting",
                    _ => "in the queue and its attempts",
                };
                (name, milliseconds(at(pair[0].1), at(pair[1].1)))
            };
            let expected: Vec<_> = hops.windows(2).map(gap).collect();
            assert_eq!(found.collect::<Vec<_>>(), expected, "{what}");
        }
    }
}
