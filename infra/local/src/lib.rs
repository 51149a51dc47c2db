//! The local edition: everything of Vitrina in one process, and the command that looks after it.
//!
//! It runs the same services as the AWS edition. What differs is what they stand on: a private
//! PostgreSQL, a queue in it, and a DynamoDB API on disk, all beneath this process.

pub mod asyncapi;
mod batch;
pub mod cli;
pub mod client;
pub mod data;
pub mod database;
mod dlq;
mod docs;
pub mod doctor;
pub mod edition;
pub mod import;
pub mod listings;
pub mod load;
pub mod output;
pub mod port;
pub mod progress;
mod reconcile;
mod remote;
pub mod roles;
pub mod seed;
mod status;
pub mod token;
mod trace;
mod up;
