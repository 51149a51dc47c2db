//! The whole edition, from a seller's request to a buyer's listing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod answers;
mod authorisation;
mod contract;
mod described;
mod first_start;
mod history;
mod house;
mod kills;
mod poison;
mod process;
mod reconciliation;
mod repeats;
mod requests;
mod resumed;
mod trace;
mod tracing;
mod whole_path;
