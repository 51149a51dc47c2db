//! The bytes that two deployables must agree on.
//!
//! A shipped event never changes meaning: a field may be added, a type may be added, and the golden
//! files in `golden/` must parse for ever.

pub mod events;
pub mod listing;
pub mod product;
pub mod stock;
pub mod sync_feed;

/// The greatest version that anybody has to believe in. Versions grow by one with every change, so
/// what claims more was not made by a change; and nothing could ever be above the greatest number.
pub const MAX_VERSION: i64 = 1 << 53;

/// Whether a product or its stock can have this version. 0 stands for none.
pub fn is_version(version: i64) -> bool {
    (0..=MAX_VERSION).contains(&version)
}

/// The queue that the catalogue is fed from.
pub const CATALOG_QUEUE: &str = "catalog";
