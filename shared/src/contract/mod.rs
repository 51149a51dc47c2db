//! The bytes that two deployables must agree on.
//!
//! A shipped event never changes meaning: a field may be added, a type may be added, and the golden
//! files in `golden/` must parse for ever.

pub mod event_type;
pub mod events;
pub mod listing;
pub mod product;
pub mod stock;
pub mod sync_feed;

/// The queue that the catalogue is fed from.
pub const CATALOG_QUEUE: &str = "catalog";
