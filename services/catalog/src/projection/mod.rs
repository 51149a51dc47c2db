//! The rules of the projection: (the listing as stored, events) -> the listing.
//!
//! Events may arrive twice, late or out of order: the fences decide, not the order of arrival. Any
//! shuffled and duplicated history of a product therefore leads to the same listing.

use chrono::{DateTime, Utc};
use shared::contract::envelope::Envelope;
use shared::contract::inventory::Event;
use shared::contract::listing::{Fence, HOPS_KEPT, Hop, ListingItem, TOMBSTONE_KEPT};
use shared::id::ProductId;

/// An event, and when it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) envelope: &'a Envelope<Event>,
    pub(crate) received_at: DateTime<Utc>,
}

/// A listing after a fold.
#[derive(Clone, Debug)]
pub(crate) struct Projected<'a> {
    pub(crate) listing: ListingItem,
    /// The events that were news to it.
    pub(crate) applied: Vec<&'a Envelope<Event>>,
}

/// Folds `arrivals`, all of the product `id`, into its listing. Returns `None` if no event is news to
/// the listing.
pub(crate) fn project<'a>(
    stored: Option<&ListingItem>,
    id: ProductId,
    arrivals: &[Arrival<'a>],
    now: DateTime<Utc>,
) -> Option<Projected<'a>> {
    let mut listing = stored.cloned().unwrap_or_else(|| ListingItem::empty(id));
    let mut applied = Vec::new();
    for arrival in arrivals {
        if apply(&mut listing, arrival.envelope) {
            applied.push(arrival.envelope);
            remember(&mut listing, *arrival, now);
        }
    }
    if applied.is_empty() {
        return None;
    }
    listing.set_index_keys();
    listing.expires_at = listing.deleted_at.map(|at| (at + TOMBSTONE_KEPT).timestamp());
    Some(Projected { listing, applied })
}

/// Applies the parts of an event that are newer than the listing. Returns whether there were any.
fn apply(listing: &mut ListingItem, envelope: &Envelope<Event>) -> bool {
    let Envelope { position, event, .. } = envelope;
    let position = *position;
    let mut applied = false;
    if let Some(product) = event.product()
        && (Fence { version: product.version, position }).passes(listing.product_fence())
    {
        listing.set_product(product, position);
        applied = true;
    }
    if let Some(stock) = event.stock()
        && (Fence { version: stock.version, position }).passes(listing.stock_fence())
    {
        listing.set_stock(stock, position);
        applied = true;
    }
    applied
}

/// Records when the change passed each stage, for the trace of the product.
fn remember(listing: &mut ListingItem, arrival: Arrival<'_>, now: DateTime<Utc>) {
    let Arrival { envelope, received_at } = arrival;
    listing.hops.push(Hop {
        event_id: envelope.id,
        position: envelope.position,
        published: envelope.publishedtime.timestamp_micros(),
        received: received_at.timestamp_micros(),
        projected: now.timestamp_micros(),
    });
    let surplus = listing.hops.len().saturating_sub(HOPS_KEPT);
    listing.hops.drain(..surplus);
}

#[cfg(test)]
mod tests;
