//! Reconciliation against a real database and a real DynamoDB API. Products are made, published
//! and projected by the services that do so in production; only the drift is planted.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are not tests to the lint, and a helper that fails fails the test"
)]

mod background;
mod categories;
mod crashes;
mod drift;
mod endpoints;
mod function;
mod leases;
mod live;
mod motion;
mod plans;
mod silence;
mod world;
