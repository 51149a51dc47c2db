//! The bus, the queues and every decoder of external input, on valid and invalid input.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod catalogues;
mod conformance;
mod corpora;
mod decoders;
mod dynamodb;
mod event_bridge;
mod expiry;
mod failed_requests;
mod handlers;
mod hostile_tokens;
mod key_set;
mod own_outcomes;
mod postgres_queue;
mod rate_limit;
mod relay_backlog;
mod second_producer;
mod silent_connection;
mod sqs_consumer;
mod sqs_dead_letters;
mod sqs_numbers;
mod sqs_requests;
mod stored_rows;
mod timeouts;
mod tls;
mod tokens;
mod transactions;
