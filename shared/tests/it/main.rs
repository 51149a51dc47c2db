//! The bus, the queues and everything that reads from outside, against whatever may arrive.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogues;
mod conformance;
mod corpora;
mod decoders;
mod event_bridge;
mod handlers;
mod key_set;
mod postgres_queue;
mod second_producer;
mod silent_connection;
mod sqs_consumer;
mod tls;
mod tokens;
mod transactions;
