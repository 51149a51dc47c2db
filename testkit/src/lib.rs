//! Real stores, each private to a test process, and doubles that fail on purpose.

#![expect(clippy::unwrap_used, reason = "a store that does not start fails the test")]

mod absent_bus;
mod buyers_list;
mod counted_dynamodb;
mod currencies;
mod database;
mod dynamodb;
mod dynamodb_interceptor;
mod edited_dynamodb;
mod fake_aws;
mod faults;
mod faulty_bus;
mod faulty_dynamodb;
mod faulty_postgres;
mod function;
pub mod fuzz;
mod gate;
mod hostile_tokens;
mod http;
mod interference;
mod ministack;
mod program;
mod random_runs;
mod rows;
mod runtime_time;
mod scripted_dynamodb;
mod stale_dynamodb;
mod tokens;
mod waits;

pub use absent_bus::{DeadBus, SilentBus};
pub use buyers_list::BuyersList;
pub use counted_dynamodb::{Calls, DynamoUsage, counted_dynamodb};
pub use currencies::three_letter_codes;
pub use database::{TestDatabase, database, patient_config};
pub use dynamodb::{TestDynamo, dynamodb};
pub use edited_dynamodb::edited_dynamodb;
pub use fake_aws::{FakeAws, FakeResponse, aws_environment};
pub use faults::Faults;
pub use faulty_bus::{FaultyBus, Rates};
pub use faulty_dynamodb::{DynamoFault, faulty_dynamodb};
pub use faulty_postgres::{FaultyPostgres, PostgresFault, faulty_postgres};
pub use function::{Function, FunctionResponse};
pub use gate::Gate;
pub use hostile_tokens::NamedToken;
pub use http::{Call, TestResponse, serve};
pub use interference::Interference;
pub use ministack::{Messaging, Ministack};
pub use program::Program;
pub use random_runs::RandomRuns;
pub use rows::{hex, locks_are_awaited, rows};
pub use runtime_time::{Hang, set_back, skip, skip_until};
pub use scripted_dynamodb::scripted_dynamodb;
pub use stale_dynamodb::stale_dynamodb;
pub use tokens::Tokens;
pub use waits::{MAX_WAIT, NO_TIMEOUT, PATIENT_RELAY, eventually, within};
