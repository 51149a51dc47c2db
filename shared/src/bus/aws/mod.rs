//! EventBridge, and the queues of SQS behind it.

mod batch;
mod config;
mod counts;
mod dead_letter_queue;
mod dead_letters;
mod entry;
mod event_bridge;
mod sqs;

pub use config::{SqsConfig, SqsQueues};
pub use dead_letters::SqsDeadLetters;
pub use event_bridge::{EventBridge, EventBridgeTimeouts};
pub use sqs::{Settled, SqsMessage, SqsQueue, SqsTimings};

pub use super::sqs_error::SqsError;
