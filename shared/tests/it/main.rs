//! What comes from outside, against everything that could come.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogues;
mod conformance;
mod corpora;
mod decoders;
mod event_bridge;
mod key_set;
mod queue;
mod silence;
mod sqs;
mod tls;
mod tokens;
mod told;
mod transactions;
