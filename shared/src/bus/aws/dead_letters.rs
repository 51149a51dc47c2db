//! Dead letters in a queue of SQS, which can only be looked at by receiving them.
//!
//! SQS's own redrive moves all of them or none, and knows nothing of who did it. So whoever looks
//! receives them all, for a minute; what is settled is sent or noted first and deleted last, and
//! the rest is put back at once. Who dies in between leaves every letter where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::batch::Sending;
use super::sqs::{
    ATTEMPTS_MADE, DEAD_AT, REASON, SENT_AT, SqsError, SqsQueue, count_of, event_in, sent_at,
};
use crate::bus::dead_letter::{Action, DeadLetter, DeadLettersError, Selection};
use crate::bus::message::QueueDepth;
use crate::telemetry;

/// How long letters are out of sight for others while they are looked at.
const LOOK: Duration = Duration::from_mins(1);

/// How long SQS looks for more. Without, it looks into some of its servers only.
const WAIT: Duration = Duration::from_secs(1);

/// Letters that are looked at, at most. Whoever has more settles some first.
const MOST: usize = 5_000;

/// Letters that are settled at once.
const SETTLED_AT_ONCE: usize = 100;

/// Dead letters in SQS, and the audit of what is done with them in PostgreSQL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    queue: SqsQueue,
    /// What the queue is called.
    name: String,
    pool: PgPool,
}

/// A letter with what it takes to settle it.
#[derive(Debug)]
struct Held {
    letter: DeadLetter,
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
        let letters = self.look().await?;
        let limit = usize::try_from(limit).unwrap_or_default();
        let found = letters.into_iter().map(|held| held.letter);
        Ok(found.filter(|letter| letter.id > after && selection.fits(letter)).take(limit).collect())
    }

    pub(in crate::bus) async fn find(
        &self,
        id: i64,
    ) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        let mut letters = self.look().await?.into_iter();
        Ok(letters.find(|held| held.letter.id == id).map(|held| (held.letter, held.body)))
    }

    pub(in crate::bus) async fn count(
        &self,
        selection: &Selection,
    ) -> Result<i64, DeadLettersError> {
        let letters = self.look().await?;
        let fitting = letters.iter().filter(|held| selection.fits(&held.letter)).count();
        Ok(i64::try_from(fitting).unwrap_or(i64::MAX))
    }

    /// As SQS counts, which is about right and a moment behind. Letters that somebody looks at are
    /// counted, too.
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
            if chosen.len() < limit && selection.fits(&held.letter) {
                chosen.push(held);
            } else {
                rest.push(held);
            }
        }
        let mut settled = 0;
        let mut result = Ok(());
        let mut chosen = chosen.into_iter().peekable();
        while result.is_ok() && chosen.peek().is_some() {
            let some = chosen.by_ref().take(SETTLED_AT_ONCE).collect();
            result = self.settle_some(some, action, actor, now, &mut rest).await.map(|count| {
                settled += count;
            });
        }
        rest.extend(chosen);
        self.put_back(&rest).await;
        result.map(|()| settled)
    }

    /// Settles some letters; those that could not be join `rest`.
    async fn settle_some(
        &self,
        letters: Vec<Held>,
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
        rest: &mut Vec<Held>,
    ) -> Result<i64, DeadLettersError> {
        let (gone, failed) = match action {
            Action::Discard => (letters, None),
            Action::Redrive => self.send_again(letters, rest).await,
        };
        // Before they are deleted: none goes without a note of who did it.
        if let Err(error) = self.note(&gone, action, actor, now).await {
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
                    tracing::warn!(dead_letter.id = held.letter.id, error, "a letter is kept");
                    rest.push(held);
                }
            }
        }
        match failed {
            Some(error) if count == 0 => Err(error.into()),
            _ => Ok(count),
        }
    }

    /// Sends letters to their queue again. Those that SQS did not take join `rest`.
    async fn send_again(
        &self,
        letters: Vec<Held>,
        rest: &mut Vec<Held>,
    ) -> (Vec<Held>, Option<SqsError>) {
        let message = |held: &Held| Sending { body: held.body.clone(), ..Sending::default() };
        let sent = self.queue.send(self.queue.url(), letters.iter().map(message).collect()).await;
        let (mut gone, mut failed) = (Vec::new(), None);
        for (held, sent) in letters.into_iter().zip(sent) {
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

    async fn note(
        &self,
        letters: &[Held],
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let letter = |held: &Held| held.letter.clone();
        let letters: Vec<DeadLetter> = letters.iter().map(letter).collect();
        let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
        let events: Vec<Uuid> = letters.iter().map(|letter| letter.event_id).collect();
        let reasons: Vec<String> = letters.into_iter().map(|letter| letter.reason).collect();
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

    /// Every letter, oldest first, put back at once.
    async fn look(&self) -> Result<Vec<Held>, SqsError> {
        let held = self.receive().await?;
        self.put_back(&held).await;
        Ok(held)
    }

    /// Receives every letter, oldest first. Whoever looks at the same time sees the others.
    async fn receive(&self) -> Result<Vec<Held>, SqsError> {
        let mut held = BTreeMap::new();
        while held.len() < MOST {
            let received = self.queue.receive_from(self.queue.dead_letters(), LOOK, WAIT).await;
            let messages = match received {
                Ok(messages) => messages,
                Err(error) => {
                    self.put_back(&held.into_values().collect::<Vec<_>>()).await;
                    return Err(error);
                }
            };
            if messages.is_empty() {
                break;
            }
            let read = messages.into_iter().filter_map(|message| self.read(message));
            held.extend(read.map(|letter| (letter.letter.id, letter)));
        }
        Ok(held.into_values().collect())
    }

    async fn put_back(&self, held: &[Held]) {
        let receipts = held.iter().map(|held| (held.receipt.clone(), Duration::ZERO)).collect();
        self.queue.change_visibility(self.queue.dead_letters(), receipts).await;
    }

    /// None where SQS has left out what every message has.
    fn read(&self, message: Message) -> Option<Held> {
        /// What is said of an event that may be anything at all.
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
        let letter = DeadLetter {
            id: number_of(&id, sent_at),
            queue: self.name.clone(),
            event_id: head.id.unwrap_or_default(),
            event_type: head.type_name.unwrap_or_default(),
            subject: head.subject.unwrap_or_default(),
            // Those without one were moved by SQS: nobody was left to say why.
            reason: attribute(REASON).unwrap_or("every attempt ended without a result").to_owned(),
            attempts: attribute(ATTEMPTS_MADE).and_then(|n| n.parse().ok()).unwrap_or(attempts),
            sent_at: attribute(SENT_AT).and_then(|at| at.parse().ok()).unwrap_or(sent_at),
            dead_at: attribute(DEAD_AT).and_then(|at| at.parse().ok()).unwrap_or(sent_at),
        };
        Some(Held { letter, body, receipt })
    }
}

/// A number for a letter that is the same each time it is received, and greater for later ones: 42
/// bits of milliseconds, and 21 of a hash of what SQS calls it.
fn number_of(id: &str, sent_at: DateTime<Utc>) -> i64 {
    let digest = Sha256::digest(id.as_bytes());
    let hash = i64::from(u32::from_be_bytes([0, digest[0], digest[1], digest[2]]) >> 3);
    (sent_at.timestamp_millis() & ((1 << 42) - 1)) << 21 | hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_the_same_number_each_time_and_a_later_one_a_greater() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        let number = number_of("a", at(1_800_000_000_000));
        assert_eq!(number, number_of("a", at(1_800_000_000_000)));
        assert_ne!(number, number_of("b", at(1_800_000_000_000)));
        assert!(number < number_of("a", at(1_800_000_000_001)) && number > 0);
    }
}
