//! Reconciliation against a real database and a real DynamoDB API. The production services create,
//! publish and project the products; only the drift is planted.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see test helpers as tests, and a helper that fails fails its test"
)]

mod authorisation;
mod background;
mod categories;
mod crashes;
mod drift;
mod events_in_flight;
mod function;
mod get_reconciliation;
mod leases;
mod list_reconciliations;
mod live;
mod plans;
mod silent_connection;
mod test_bed;
