//! Dead letters in an SQS queue, which can be read only by receiving them.
//!
//! SQS's own redrive moves all messages or none, and records no operator. So a reader receives all
//! of them for a minute. Settled messages are sent or audited before they are deleted; the others
//! are released at once. A crash before the deletion loses nothing: the messages become visible
//! again.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::entry::Sending;
use super::sqs::{ATTEMPTS_MADE, DEAD_AT, REASON, SENT_AT, SqsQueue, count_of, event_in, sent_at};
use crate::bus::message::QueueDepth;
use crate::bus::selection::{Action, DeadLetter, DeadLettersError, Selection};
use crate::bus::sqs_error::SqsError;
use crate::telemetry;

/// Visibility timeout while dead letters are read.
const VISIBILITY: Duration = Duration::from_mins(1);

/// The shortest long poll. A short poll queries only some of the servers of SQS.
const LONG_POLL: Duration = Duration::from_secs(1);

/// Maximum number of dead letters to read. An operator with more must settle some first.
const MAX_READ: usize = 5_000;

/// Dead letters in one batch of settling.
const SETTLE_BATCH: usize = 100;

/// Dead letters in SQS, and the audit of what is done with them in PostgreSQL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    queue: SqsQueue,
    name: String,
    pool: PgPool,
}

/// A received dead letter and its receipt.
#[derive(Debug)]
struct Held {
    dead_letter: DeadLetter,
    body: String,
    receipt: String,
}

impl SqsDeadLetters {
    /// The dead letters of `queue`.
    pub fn new(queue: SqsQueue, pool: PgPool) -> Self {
        let name = queue.url().rsplit('/').next().unwrap_or_default().to_owned();
        Self { queue, name, pool }
    }

    pub(in crate::bus) async fn list(
        &self,
        selection: &Selection,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let dead_letters = self.read_all().await?;
        let limit = usize::try_from(limit).unwrap_or_default();
        let found = dead_letters.into_iter().map(|held| held.dead_letter);
        Ok(found
            .filter(|dead_letter| dead_letter.id > after && selection.matches(dead_letter))
            .take(limit)
            .collect())
    }

    pub(in crate::bus) async fn find(
        &self,
        id: i64,
    ) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        let mut dead_letters = self.read_all().await?.into_iter();
        Ok(dead_letters
            .find(|held| held.dead_letter.id == id)
            .map(|held| (held.dead_letter, held.body)))
    }

    pub(in crate::bus) async fn count(
        &self,
        selection: &Selection,
    ) -> Result<i64, DeadLettersError> {
        let dead_letters = self.read_all().await?;
        let fitting =
            dead_letters.iter().filter(|held| selection.matches(&held.dead_letter)).count();
        Ok(i64::try_from(fitting).unwrap_or(i64::MAX))
    }

    /// Approximate and delayed, as SQS counts. Includes dead letters that are being read.
    pub(in crate::bus) async fn depth(&self) -> Result<QueueDepth, SqsError> {
        let [waiting, dead] = self.queue.counts().await?;
        Ok(QueueDepth {
            queue: self.name.clone(),
            visible: waiting.visible,
            in_flight: waiting.hidden,
            dead_letters: dead.visible + dead.hidden,
            oldest_sent_at: None,
        })
    }

    pub(in crate::bus) async fn settle(
        &self,
        selection: &Selection,
        limit: Option<i64>,
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
    ) -> Result<i64, DeadLettersError> {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default());
        let held = self.receive().await?;
        let (mut chosen, mut rest) = (Vec::new(), Vec::new());
        for held in held {
            if chosen.len() < limit && selection.matches(&held.dead_letter) {
                chosen.push(held);
            } else {
                rest.push(held);
            }
        }
        let mut settled = 0;
        let mut result = Ok(());
        let mut chosen = chosen.into_iter().peekable();
        while result.is_ok() && chosen.peek().is_some() {
            let some = chosen.by_ref().take(SETTLE_BATCH).collect();
            result = self.settle_some(some, action, actor, now, &mut rest).await.map(|count| {
                settled += count;
            });
        }
        rest.extend(chosen);
        self.release(&rest).await;
        result.map(|()| settled)
    }

    /// Settles a batch. Dead letters that could not be settled are added to `rest`.
    async fn settle_some(
        &self,
        dead_letters: Vec<Held>,
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
        rest: &mut Vec<Held>,
    ) -> Result<i64, DeadLettersError> {
        let (gone, failed) = match action {
            Action::Discard => (dead_letters, None),
            Action::Redrive => self.send_again(dead_letters, rest).await,
        };
        // Audited before the deletion, so that every deleted dead letter has an audit row.
        if let Err(error) = self.audit(&gone, action, actor, now).await {
            rest.extend(gone);
            return Err(error.into());
        }
        let receipts = gone.iter().map(|held| held.receipt.clone()).collect();
        let deleted = self.queue.delete_from(self.queue.dead_letters(), receipts).await;
        let mut count = 0;
        for (held, deleted) in gone.into_iter().zip(deleted) {
            match deleted {
                Ok(()) => count += 1,
                Err(error) => {
                    let error = telemetry::causes(&error);
                    tracing::warn!(
                        dead_letter.id = held.dead_letter.id,
                        error,
                        "a dead letter could not be deleted and is kept"
                    );
                    rest.push(held);
                }
            }
        }
        match failed {
            Some(error) if count == 0 => Err(error.into()),
            _ => Ok(count),
        }
    }

    /// Sends messages to their queue again. Messages that SQS refused are added to `rest`.
    async fn send_again(
        &self,
        dead_letters: Vec<Held>,
        rest: &mut Vec<Held>,
    ) -> (Vec<Held>, Option<SqsError>) {
        let message = |held: &Held| Sending { body: held.body.clone(), ..Sending::default() };
        let sent =
            self.queue.send(self.queue.url(), dead_letters.iter().map(message).collect()).await;
        let (mut gone, mut failed) = (Vec::new(), None);
        for (held, sent) in dead_letters.into_iter().zip(sent) {
            match sent {
                Ok(()) => gone.push(held),
                Err(error) => {
                    failed = Some(error);
                    rest.push(held);
                }
            }
        }
        (gone, failed)
    }

    async fn audit(
        &self,
        dead_letters: &[Held],
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let dead_letter = |held: &Held| held.dead_letter.clone();
        let dead_letters: Vec<DeadLetter> = dead_letters.iter().map(dead_letter).collect();
        let ids: Vec<i64> = dead_letters.iter().map(|dead_letter| dead_letter.id).collect();
        let events: Vec<Uuid> =
            dead_letters.iter().map(|dead_letter| dead_letter.event_id).collect();
        let reasons: Vec<String> =
            dead_letters.into_iter().map(|dead_letter| dead_letter.reason).collect();
        sqlx::query!(
            "insert into bus.dead_letter_audit
                 (at, actor, action, dead_letter_id, queue, event_id, reason)
             select $1, $2::uuid::text, $3, id, $4, event_id, reason
             from unnest($5::bigint[], $6::uuid[], $7::text[]) as letter (id, event_id, reason)",
            now,
            actor,
            action.as_str(),
            self.name,
            &ids,
            &events,
            &reasons,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Reads every dead letter, oldest first, and releases them at once.
    async fn read_all(&self) -> Result<Vec<Held>, SqsError> {
        let held = self.receive().await?;
        self.release(&held).await;
        Ok(held)
    }

    /// Receives every dead letter, oldest first. A concurrent reader receives a share of them.
    async fn receive(&self) -> Result<Vec<Held>, SqsError> {
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

    async fn release(&self, held: &[Held]) {
        let receipts = held.iter().map(|held| (held.receipt.clone(), Duration::ZERO)).collect();
        self.queue.change_visibility(self.queue.dead_letters(), receipts).await;
    }

    /// `None` if SQS omitted a required field.
    fn read(&self, message: Message) -> Option<Held> {
        /// The fields to show, each absent if the body lacks it.
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Head {
            id: Option<Uuid>,
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
            queue: self.name.clone(),
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
/// bits of milliseconds and 21 bits of a hash of its id in SQS.
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
