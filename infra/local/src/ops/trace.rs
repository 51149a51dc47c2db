//! `GET /v1/admin/trace/{id}`: the way of a change from the request to the listing.
//!
//! Every hop left its time with what it passed on: the journal knows when a change was requested
//! and committed, its message when it was published, the listing when it was received and
//! projected. So the way can be shown without a trace backend, for a change that is stuck, and
//! after a restart.

use axum::extract::State;
use chrono::{DateTime, Utc};
use inventory::trace::Change;
use serde::{Deserialize, Serialize};
use shared::bus::dead_letter::{DeadLetter, Selection};
use shared::bus::postgres::Waiting;
use shared::bus::postgres::dead_letters;
use shared::contract::listing::{HOPS_KEPT, ListingItem};
use shared::http::PathId;
use shared::http::auth::Operator;
use shared::http::problem::{Problem, ProblemDocument};
use uuid::Uuid;

use super::Ops;

/// Changes that are shown at most: the latest ones.
const MAX_CHANGES: u16 = 50;

/// Dead letters of a product that are looked through at most.
const MAX_DEAD_LETTERS: i64 = 1_000;

/// The way of one or more changes.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Trace {
    /// Oldest first.
    pub(crate) changes: Vec<TracedChange>,
    /// Whether there are older changes, which are left out: only the latest 50 are shown.
    pub(crate) cut: bool,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct TracedChange {
    pub(crate) product_id: Uuid,
    /// `product` or `stock`.
    pub(crate) aggregate: String,
    pub(crate) version: i64,
    /// `created`, `updated`, ..
    pub(crate) change: String,
    pub(crate) event_id: Uuid,
    pub(crate) request_id: Uuid,
    pub(crate) traceparent: String,
    /// As far as it has come.
    pub(crate) hops: Vec<Hop>,
    /// Between each hop and the next.
    pub(crate) gaps: Vec<Gap>,
    /// Where it is now, in a sentence.
    pub(crate) state: String,
    /// Whether there is nothing left to happen.
    pub(crate) complete: bool,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Hop {
    /// `requested`, `committed`, `published`, `received` or `projected`; `buried` if it became a
    /// dead letter.
    pub(crate) name: String,
    pub(crate) at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Gap {
    /// What the time was spent on, such as `in the outbox`.
    pub(crate) name: String,
    pub(crate) milliseconds: f64,
}

/// A place that a change passes, and what the time before it is spent on.
struct Place {
    name: &'static str,
    gap: &'static str,
}

const REQUESTED: Place = Place { name: "requested", gap: "" };
const COMMITTED: Place = Place { name: "committed", gap: "writing" };
const PUBLISHED: Place = Place { name: "published", gap: "in the outbox" };
const RECEIVED: Place = Place { name: "received", gap: "in the queue" };
const PROJECTED: Place = Place { name: "projected", gap: "projecting" };
/// Off the way: it has become a dead letter.
const BURIED: Place = Place { name: "buried", gap: "in the queue and its attempts" };

/// The places that a change has passed, and when.
type Passed = Vec<(Place, DateTime<Utc>)>;

/// Shows the way of a change: of the product, the request or the event with this id.
#[utoipa::path(
    get, path = "/v1/admin/trace/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The way of each change", body = Trace),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get_trace(
    State(ops): State<Ops>,
    Operator(_operator): Operator,
    PathId(id): PathId,
) -> Result<axum::Json<Trace>, Problem> {
    // One more tells whether there are more.
    let mut found = inventory::trace::find(&ops.pool, id, i64::from(MAX_CHANGES) + 1).await?;
    if found.is_empty() {
        return Err(Problem::not_found());
    }
    let cut = found.len() > usize::from(MAX_CHANGES);
    if cut {
        // The oldest.
        found.remove(0);
    }
    let mut changes = Vec::with_capacity(found.len());
    let mut known: Option<(Uuid, Way)> = None;
    for change in found {
        let way = match known.take() {
            Some((product, way)) if product == change.product_id => way,
            _ => Way::read(&ops, change.product_id).await?,
        };
        changes.push(way.of(&change));
        known = Some((change.product_id, way));
    }
    Ok(axum::Json(Trace { changes, cut }))
}

/// What is known of the way of a product's changes beyond the write side.
struct Way {
    listing: Option<ListingItem>,
    waiting: Vec<Waiting>,
    dead: Vec<DeadLetter>,
}

impl Way {
    async fn read(ops: &Ops, product: Uuid) -> Result<Self, Problem> {
        let selection = Selection { subject: Some(product), ..Selection::default() };
        // The queue first: what is taken from it meanwhile shows in the listing.
        let waiting = ops.queue.waiting_for(product).await?;
        let dead = dead_letters::list(&ops.pool, &selection, 0, MAX_DEAD_LETTERS).await?;
        let listing = ops.catalog.find_listing(product).await?;
        Ok(Self { listing, waiting, dead })
    }

    fn of(&self, change: &Change) -> TracedChange {
        let mut passed = vec![(REQUESTED, change.requested_at), (COMMITTED, change.committed_at)];
        let (state, complete) = self.follow(change, &mut passed);
        TracedChange {
            product_id: change.product_id,
            aggregate: change.aggregate.clone(),
            version: change.version,
            change: change.change.clone(),
            event_id: change.event_id,
            request_id: change.request_id,
            traceparent: change.traceparent.clone(),
            hops: passed
                .iter()
                .map(|(place, at)| Hop { name: place.name.to_owned(), at: *at })
                .collect(),
            gaps: passed
                .windows(2)
                .map(|pair| Gap {
                    name: pair[1].0.gap.to_owned(),
                    milliseconds: milliseconds(pair[0].1, pair[1].1),
                })
                .collect(),
            state,
            complete,
        }
    }

    /// Adds the places beyond the commit, as far as it has come.
    fn follow(&self, change: &Change, passed: &mut Passed) -> (String, bool) {
        let listing = self.listing.as_ref();
        let hop = listing
            .and_then(|listing| listing.hops.iter().rev().find(|h| h.event_id == change.event_id));
        if let Some(hop) = hop {
            let hops =
                [(PUBLISHED, hop.published), (RECEIVED, hop.received), (PROJECTED, hop.projected)];
            passed.extend(hops.into_iter().filter_map(|(place, micros)| {
                Some((place, DateTime::from_timestamp_micros(micros)?))
            }));
            return ("in the listing".to_owned(), true);
        }
        if let Some(dead) = self.dead.iter().find(|dead| dead.event_id == change.event_id) {
            passed.extend([(PUBLISHED, dead.sent_at), (BURIED, dead.dead_at)]);
            let state = format!("dead letter {}: {}", dead.id, dead.reason);
            return (state, false);
        }
        if let Some(message) = self.waiting.iter().find(|m| m.event_id == change.event_id) {
            passed.push((PUBLISHED, message.sent_at));
            let state = match &message.last_failure {
                Some(failure) => {
                    format!("in the queue after {} attempts: {failure}", message.attempts)
                }
                None if message.attempts > 0 => "being projected".to_owned(),
                None => "in the queue".to_owned(),
            };
            return (state, false);
        }
        if change.pending {
            return ("in the outbox".to_owned(), false);
        }
        let seen = listing.map_or(0, |listing| match change.aggregate.as_str() {
            "stock" => listing.stock_version,
            _ => listing.product_version,
        });
        if seen >= change.version {
            let state =
                format!("overtaken by a later change; a listing keeps the last {HOPS_KEPT}");
            (state, true)
        } else {
            ("published, and in no queue: `vitrina sync` mends it".to_owned(), false)
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "microseconds for a person"
)]
fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(i64::MAX) as f64 / 1000.0
}
