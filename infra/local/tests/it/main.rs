//! Tests of a whole edition, from a seller's request to a buyer's listing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]

mod architecture;
mod authorisation;
mod cache_headers;
mod connection_names;
mod contract;
mod contract_fields;
mod cursors;
mod database_roles;
mod durations;
mod dynamodb_reads;
mod first_start;
mod health_checks;
mod history;
mod hostile_tokens;
mod intervals;
mod kills;
mod links;
mod numbers;
mod openapi;
mod own_settings;
mod poison;
mod process;
mod queued_events;
mod rare_paths;
mod read_back;
mod reconciliation;
mod repeats;
mod requests;
mod response_coverage;
mod resumed;
mod settings;
mod sources;
mod store_outage;
mod trace;
mod tracing;
mod whole_path;
