//! The local edition: all of Vitrina in one process, and its command line.
//!
//! It runs the same services as the AWS edition, over other stores: a private PostgreSQL, a queue in
//! it, and a DynamoDB API on disk. This process starts and stops them.

pub mod asyncapi;
pub mod client;
pub mod commands;
pub mod console;
mod docs;
pub mod edition;
