//! The local edition: everything of Vitrina in one process, and the command that looks after it.
//!
//! It runs the same services as the AWS edition. What differs is what they stand on: a private
//! PostgreSQL, a queue in it, and a DynamoDB API on disk, all beneath this process.

pub mod asyncapi;
pub mod client;
pub mod commands;
pub mod console;
mod docs;
pub mod edition;
mod ops;
