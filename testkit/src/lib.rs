//! Real stores, each private to a test process, and doubles that fail on purpose.

#![expect(clippy::unwrap_used, reason = "a store that does not start fails the test")]

mod aws_wire;
mod counted_dynamodb;
mod database;
mod dynamodb;
mod dynamodb_wire;
mod faults;
mod faulty_bus;
mod faulty_dynamodb;
mod faulty_postgres;
mod function;
pub mod fuzz;
mod http;
mod ministack;
mod program;
mod scale;
mod stale_dynamodb;
mod tokens;

pub use aws_wire::{AwsWire, WireAnswer, aws_environment};
pub use counted_dynamodb::{Calls, Charged, counted_dynamodb};
pub use database::{TestDatabase, database};
pub use dynamodb::{TestDynamo, dynamodb};
pub use faults::Faults;
pub use faulty_bus::{FaultyBus, Rates};
pub use faulty_dynamodb::{DynamoFault, faulty_dynamodb};
pub use faulty_postgres::{FaultyPostgres, PostgresFault, faulty_postgres};
pub use function::{Function, HttpAnswer};
pub use http::{Answer, Call};
pub use ministack::{Messaging, Ministack};
pub use program::Program;
pub use scale::Scale;
pub use stale_dynamodb::stale_dynamodb;
pub use tokens::Tokens;
