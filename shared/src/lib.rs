//! What every service of Vitrina has in common, and nothing that only one of them needs.
//!
//! `contract` holds the bytes that two deployables must agree on; `http` is parsing, problems and authorisation; the rest is
//! the bus, and the hosts that run a service.

mod allocator;
pub mod aws;
pub mod bus;
pub mod clock;
pub mod config;
pub mod contract;
pub mod database;
pub mod dynamodb;
pub mod failpoint;
pub mod host;
pub mod http;
pub mod id;
pub mod metrics;
pub mod money;
pub mod outbox;
pub mod telemetry;
pub mod text;
