//! THE RULES of the projection: (the listing as stored, events) -> the listing.
//!
//! Whatever arrives may arrive twice, late or out of order: the fences decide, not the arrival. So
//! any shuffled and doubled history of a product leads to the same listing.

use chrono::{DateTime, Utc};
use shared::contract::inventory::Event;
use shared::contract::listing::{Fence, HOPS_KEPT, Hop, ListingItem, TOMBSTONE_KEPT};
use shared::host::intake::Delivery;
use uuid::Uuid;

/// Folds `deliveries`, all of the product `id`, into its listing. `None` if none of them says
/// anything new.
pub(crate) fn project(
    stored: Option<&ListingItem>,
    id: Uuid,
    deliveries: &[&Delivery<Event>],
    now: DateTime<Utc>,
) -> Option<ListingItem> {
    let mut listing = stored.cloned().unwrap_or_else(|| ListingItem::empty(id));
    let mut changed = false;
    for delivery in deliveries {
        if apply(&mut listing, delivery) {
            changed = true;
            remember(&mut listing, delivery, now);
        }
    }
    if !changed {
        return None;
    }
    listing.set_index_keys();
    listing.expires_at = listing.deleted_at.map(|at| (at + TOMBSTONE_KEPT).timestamp());
    Some(listing)
}

/// Applies the parts of an event that are newer than what the listing has seen.
fn apply(listing: &mut ListingItem, delivery: &Delivery<Event>) -> bool {
    let position = delivery.envelope.position;
    let event = &delivery.envelope.event;
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

/// Notes how the change came here, so that its way can be shown afterwards.
fn remember(listing: &mut ListingItem, delivery: &Delivery<Event>, now: DateTime<Utc>) {
    listing.hops.push(Hop {
        event_id: delivery.envelope.id,
        position: delivery.envelope.position,
        published: delivery.envelope.publishedtime.timestamp_micros(),
        received: delivery.received_at.timestamp_micros(),
        projected: now.timestamp_micros(),
    });
    let surplus = listing.hops.len().saturating_sub(HOPS_KEPT);
    listing.hops.drain(..surplus);
}

#[cfg(test)]
mod tests;
