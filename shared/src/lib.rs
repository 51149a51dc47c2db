//! What every service of Vitrina has in common, and nothing that only one of them needs.
//!
//! `contract` holds the bytes that two deployables must agree on; the rest is the door (parsing,
//! problems, authorisation), the bus, and the hosts that run a service.

mod allocator;
pub mod auth;
pub mod aws;
pub mod bus;
pub mod clock;
pub mod config;
pub mod contract;
pub mod database;
pub mod docs;
pub mod door;
pub mod dynamodb;
pub mod failpoint;
pub mod host;
pub mod id;
pub mod money;
pub mod page;
#[cfg(feature = "local")]
pub mod postgres;
pub mod problem;
pub mod request;
pub mod telemetry;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod text;
