//! One dead-letter queue of SQS, which can be read only by receiving its messages.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::entry::Sending;
use super::sqs::{
    ATTEMPTS_MADE, DEAD_AT, REASON, SENT_AT, SqsQueue, SqsTimings, count_of, event_in, sent_at,
};
use crate::bus::message::QueueDepth;
use crate::bus::selection::DeadLetter;
use crate::bus::sqs_error::SqsError;
use crate::id::EventId;

/// Visibility timeout while dead letters are read.
const VISIBILITY: Duration = Duration::from_mins(1);

/// The shortest long poll. A short poll queries only some of the servers of SQS.
const LONG_POLL: Duration = Duration::from_secs(1);

/// Maximum number of dead letters to read. An operator with more must settle some first.
const MAX_READ: usize = 5_000;

/// The dead letters of one queue.
#[derive(Clone, Debug)]
pub(super) struct DeadLetterQueue {
    /// The name of the queue in the routes.
    pub(super) name: &'static str,
    queue: SqsQueue,
}

/// A received dead letter and its receipt.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) dead_letter: DeadLetter,
    pub(super) body: String,
    receipt: String,
}

impl DeadLetterQueue {
    pub(super) fn new(name: &'static str, queue: SqsQueue) -> Self {
        Self { name, queue }
    }

    pub(super) fn with_timings(self, timings: SqsTimings) -> Self {
        Self { queue: self.queue.with_timings(timings), ..self }
    }

    /// Approximate and delayed, as SQS counts. Includes dead letters that are being read.
    pub(super) async fn depth(&self) -> Result<QueueDepth, SqsError> {
        let [waiting, dead] = self.queue.counts().await?;
        Ok(QueueDepth {
            queue: self.name.to_owned(),
            visible: waiting.visible,
            in_flight: waiting.hidden,
            dead_letters: dead.visible + dead.hidden,
            oldest_sent_at: None,
        })
    }

    /// Receives every dead letter, oldest first. A concurrent reader receives a share of them.
    pub(super) async fn receive(&self) -> Result<Vec<Held>, SqsError> {
        let mut held = BTreeMap::new();
        while held.len() < MAX_READ {
            let received =
                self.queue.receive_from(self.queue.dead_letters(), VISIBILITY, LONG_POLL).await;
            let messages = match received {
                Ok(messages) => messages,
                Err(error) => {
                    self.release(&held.into_values().collect::<Vec<_>>()).await;
                    return Err(error);
                }
            };
            if messages.is_empty() {
                break;
            }
            let read = messages.into_iter().filter_map(|message| self.read(message));
            held.extend(read.map(|dead_letter| (dead_letter.dead_letter.id, dead_letter)));
        }
        Ok(held.into_values().collect())
    }

    pub(super) async fn release<'a>(&self, held: impl IntoIterator<Item = &'a Held>) {
        let receipts = held.into_iter().map(|held| (held.receipt.clone(), Duration::ZERO));
        self.queue.change_visibility(self.queue.dead_letters(), receipts.collect()).await;
    }

    /// Sends messages to their queue again and returns one result for each.
    pub(super) async fn send_again(&self, dead_letters: &[Held]) -> Vec<Result<(), SqsError>> {
        let message = |held: &Held| Sending { body: held.body.clone(), ..Sending::default() };
        self.queue.send(self.queue.url(), dead_letters.iter().map(message).collect()).await
    }

    /// Deletes dead letters and returns one result for each.
    pub(super) async fn delete(&self, dead_letters: &[Held]) -> Vec<Result<(), SqsError>> {
        let receipts = dead_letters.iter().map(|held| held.receipt.clone()).collect();
        self.queue.delete_from(self.queue.dead_letters(), receipts).await
    }

    /// `None` if SQS omitted a required field.
    fn read(&self, message: Message) -> Option<Held> {
        /// The fields to show, each absent if the body lacks it.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Head {
            id: Option<EventId>,
            subject: Option<Uuid>,
            #[serde(rename = "type")]
            type_name: Option<String>,
        }
        let attempts = count_of(&message);
        let sent_at = sent_at(&message)?;
        let Message {
            message_id: Some(id), receipt_handle: Some(receipt), body: Some(body), ..
        } = message
        else {
            return None;
        };
        let attributes = message.message_attributes.unwrap_or_default();
        let attribute = |name: &str| attributes.get(name)?.string_value();
        let head: Head = serde_json::from_str(event_in(&body)).unwrap_or_default();
        let dead_letter = DeadLetter {
            id: id_of(&id, sent_at),
            queue: self.name.to_owned(),
            event_id: head.id.unwrap_or_default(),
            event_type: head.type_name.unwrap_or_default(),
            subject: head.subject.unwrap_or_default(),
            // Without a reason, SQS itself moved the message: its consumer crashed each time.
            reason: attribute(REASON).unwrap_or("every attempt ended without a result").to_owned(),
            attempts: attribute(ATTEMPTS_MADE).and_then(|n| n.parse().ok()).unwrap_or(attempts),
            sent_at: attribute(SENT_AT).and_then(|at| at.parse().ok()).unwrap_or(sent_at),
            dead_at: attribute(DEAD_AT).and_then(|at| at.parse().ok()).unwrap_or(sent_at),
        };
        Some(Held { dead_letter, body, receipt })
    }
}

/// The id of a dead letter: the same on each receive, and increasing with time. It consists of 42
/// bits of milliseconds and 21 bits of a hash of its id in SQS, which is unique over all queues.
fn id_of(id: &str, sent_at: DateTime<Utc>) -> i64 {
    let digest = Sha256::digest(id.as_bytes());
    let hash = i64::from(u32::from_be_bytes([0, digest[0], digest[1], digest[2]]) >> 3);
    (sent_at.timestamp_millis() & ((1 << 42) - 1)) << 21 | hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_stable_and_grows_with_time() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let id = id_of("a", at(1_800_000_000_000));
        assert_eq!(id, id_of("a", at(1_800_000_000_000)));
        assert_ne!(id, id_of("b", at(1_800_000_000_000)));
        assert!(id < id_of("a", at(1_800_000_000_001)) && id > 0);
    }
}
