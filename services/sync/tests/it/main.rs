//! Reconciliation against a real database and a real DynamoDB API. The production services create,
//! publish and project the products; only the drift is planted.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see test helpers as tests, and a helper that fails fails its test"
)]

mod authorisation;
mod background;
mod categories;
mod consistency;
mod crashes;
mod dead_letter_filters;
mod dead_letter_selection;
mod discard_dead_letters;
mod drift;
mod events_in_flight;
mod function;
mod get_dead_letter;
mod get_reconciliation;
mod get_trace;
mod grace;
mod kinds;
mod leases;
mod list_dead_letters;
mod list_queues;
mod list_reconciliations;
mod live;
mod measures;
mod order;
mod plans;
mod program;
mod redrive_dead_letters;
mod repairs;
mod request_reconciliation;
mod set_back;
mod silent_connection;
mod store_outage;
mod stored_rows;
mod test_bed;
