//! What tests of every crate start: real stores of their own, gone with the test process.

mod database;
mod dynamodb;
mod tokens;

pub use database::{TestDatabase, database};
pub use dynamodb::{TestDynamo, dynamodb};
pub use tokens::Tokens;
