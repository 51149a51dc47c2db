//! The bytes that two deployables must agree on.
//!
//! A shipped event never changes meaning: fields and types may be added, and the golden files in
//! `golden/` must always parse.

pub mod envelope;
pub mod event_type;
pub mod inventory;
pub mod listing;
pub mod product;
pub mod routes;
pub mod stock;
pub mod sync_feed;
mod tagged;
