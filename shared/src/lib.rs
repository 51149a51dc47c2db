//! What at least two services need. See README.md for the promise of each module.

// The unit tests link this crate twice: as itself and through the testkit.
#[cfg(not(test))]
mod allocator;
pub mod aws;
pub mod bus;
pub mod clock;
pub mod config;
pub mod contract;
pub mod database;
pub mod dynamodb;
pub mod expected;
pub mod failpoint;
pub mod host;
pub mod http;
pub mod id;
pub mod metrics;
pub mod money;
pub mod outbox;
pub mod telemetry;
pub mod text;
