//! Dead letters of every queue on SQS.
//!
//! SQS's own redrive moves all messages or none, and records no operator. So a reader receives all
//! of them for a minute. Settled messages are sent or audited before they are deleted; the others
//! are released at once. A crash before the deletion loses nothing: the messages become visible
//! again.

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures::future::{join_all, try_join_all};
use sqlx::PgPool;

use super::config::SqsQueues;
use super::dead_letter_queue::{DeadLetterQueue, Held};
use super::sqs::{SqsQueue, SqsTimings};
use crate::aws;
use crate::bus::message::QueueDepth;
use crate::bus::selection::{Action, DeadLetter, DeadLettersError, Selection};
use crate::bus::sqs_error::SqsError;
use crate::clock::Clock;
use crate::id::{EventId, UserId};
use crate::telemetry;

/// Dead letters in one batch of settling.
const SETTLE_BATCH: usize = 100;

/// Dead letters in SQS, and the audit of what is done with them in PostgreSQL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    queues: Vec<DeadLetterQueue>,
    pool: PgPool,
}

/// Received dead letters with their queue.
type Received<'a> = Vec<(&'a DeadLetterQueue, Held)>;

impl SqsDeadLetters {
    /// The dead letters of the queues that the settings name.
    pub async fn connect(config: &SqsQueues, clock: &Clock, pool: PgPool) -> Self {
        Self::new(aws::environment().await, clock, config, pool)
    }

    /// The dead letters of the queues that `config` names.
    pub fn new(environment: &SdkConfig, clock: &Clock, config: &SqsQueues, pool: PgPool) -> Self {
        let queue = |(name, config): &(&'static str, _)| {
            DeadLetterQueue::new(name, SqsQueue::new(environment, clock.clone(), config))
        };
        Self { queues: config.iter().map(queue).collect(), pool }
    }

    #[must_use]
    pub fn with_timings(mut self, timings: SqsTimings) -> Self {
        let queues = self.queues.into_iter();
        self.queues = queues.map(|queue| queue.with_timings(timings)).collect();
        self
    }

    pub(in crate::bus) async fn list(
        &self,
        selection: &Selection,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        let dead_letters = self.read_all(selection).await?;
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
        let mut dead_letters = self.read_all(&Selection::default()).await?.into_iter();
        Ok(dead_letters
            .find(|held| held.dead_letter.id == id)
            .map(|held| (held.dead_letter, held.body)))
    }

    pub(in crate::bus) async fn count(
        &self,
        selection: &Selection,
    ) -> Result<i64, DeadLettersError> {
        let dead_letters = self.read_all(selection).await?;
        let fitting =
            dead_letters.iter().filter(|held| selection.matches(&held.dead_letter)).count();
        Ok(i64::try_from(fitting).unwrap_or(i64::MAX))
    }

    pub(in crate::bus) fn queues(&self) -> Vec<&'static str> {
        self.queues.iter().map(|queue| queue.name).collect()
    }

    pub(in crate::bus) async fn depths(&self) -> Result<Vec<QueueDepth>, SqsError> {
        let depth = async |queue: &DeadLetterQueue| {
            queue.depth().await.map_err(|error| error.of_queue(queue.name))
        };
        try_join_all(self.queues.iter().map(depth)).await
    }

    pub(in crate::bus) async fn settle(
        &self,
        selection: &Selection,
        limit: Option<i64>,
        action: Action,
        actor: UserId,
        now: DateTime<Utc>,
    ) -> Result<i64, DeadLettersError> {
        let mut left = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or_default());
        let mut chosen: Vec<(&DeadLetterQueue, Vec<Held>)> = Vec::new();
        let mut rest = Vec::new();
        for (queue, held) in self.receive(selection).await? {
            if left == 0 || !selection.matches(&held.dead_letter) {
                rest.push((queue, held));
                continue;
            }
            left -= 1;
            match chosen.iter_mut().find(|(other, _)| other.name == queue.name) {
                Some((_, some)) => some.push(held),
                None => chosen.push((queue, vec![held])),
            }
        }
        let mut settled = 0;
        let mut result = Ok(());
        for (queue, held) in chosen {
            let mut held = held.into_iter().peekable();
            while result.is_ok() && held.peek().is_some() {
                let some = held.by_ref().take(SETTLE_BATCH).collect();
                let (count, kept) = self.settle_some(queue, some, action, actor, now).await;
                rest.extend(kept.into_iter().map(|held| (queue, held)));
                result = count.map(|count| settled += count);
            }
            rest.extend(held.map(|held| (queue, held)));
        }
        self.release(&rest).await;
        result.map(|()| settled)
    }

    /// Settles a batch of one queue. Also returns the dead letters that could not be settled.
    async fn settle_some(
        &self,
        queue: &DeadLetterQueue,
        dead_letters: Vec<Held>,
        action: Action,
        actor: UserId,
        now: DateTime<Utc>,
    ) -> (Result<i64, DeadLettersError>, Vec<Held>) {
        let (gone, mut kept, failed) = match action {
            Action::Discard => (dead_letters, Vec::new(), None),
            Action::Redrive => {
                let sent = queue.send_again(&dead_letters).await;
                let (mut gone, mut kept, mut failed) = (Vec::new(), Vec::new(), None);
                for (held, sent) in dead_letters.into_iter().zip(sent) {
                    match sent {
                        Ok(()) => gone.push(held),
                        Err(error) => {
                            failed = Some(error);
                            kept.push(held);
                        }
                    }
                }
                (gone, kept, failed)
            }
        };
        // Audited before the deletion, so that every deleted dead letter has an audit row.
        if let Err(error) = self.audit(queue.name, &gone, action, actor, now).await {
            kept.extend(gone);
            return (Err(error.into()), kept);
        }
        let deleted = queue.delete(&gone).await;
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
                    kept.push(held);
                }
            }
        }
        match failed {
            Some(error) if count == 0 => (Err(error.into()), kept),
            _ => (Ok(count), kept),
        }
    }

    async fn audit(
        &self,
        queue: &str,
        dead_letters: &[Held],
        action: Action,
        actor: UserId,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let dead_letter = |held: &Held| held.dead_letter.clone();
        let dead_letters: Vec<DeadLetter> = dead_letters.iter().map(dead_letter).collect();
        let ids: Vec<i64> = dead_letters.iter().map(|dead_letter| dead_letter.id).collect();
        let events: Vec<EventId> =
            dead_letters.iter().map(|dead_letter| dead_letter.event_id).collect();
        let reasons: Vec<String> =
            dead_letters.into_iter().map(|dead_letter| dead_letter.reason).collect();
        sqlx::query!(
            "insert into bus.dead_letter_audit
                 (at, actor, action, dead_letter_id, queue, event_id, reason)
             select $1, $2::uuid::text, $3, id, $4, event_id, reason
             from unnest($5::bigint[], $6::uuid[], $7::text[]) as letter (id, event_id, reason)",
            now,
            actor as UserId,
            action.as_str(),
            queue,
            &ids,
            &events as &[EventId],
            &reasons,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Reads every dead letter of the selected queues, oldest first, and releases them at once.
    async fn read_all(&self, selection: &Selection) -> Result<Vec<Held>, SqsError> {
        let received = self.receive(selection).await?;
        self.release(&received).await;
        Ok(received.into_iter().map(|(_, held)| held).collect())
    }

    /// Receives every dead letter of the selected queues, oldest first. If one queue does not respond,
    /// those of the others are released.
    async fn receive(&self, selection: &Selection) -> Result<Received<'_>, SqsError> {
        let is_selected = |queue: &&DeadLetterQueue| {
            selection.queue.as_ref().is_none_or(|name| name == queue.name)
        };
        let queues: Vec<&DeadLetterQueue> = self.queues.iter().filter(is_selected).collect();
        let responses = join_all(queues.iter().map(|queue| queue.receive())).await;
        let (mut received, mut failed) = (Vec::new(), None);
        for (queue, response) in queues.into_iter().zip(responses) {
            match response {
                Ok(held) => received.extend(held.into_iter().map(|held| (queue, held))),
                Err(error) => failed = Some(error.of_queue(queue.name)),
            }
        }
        if let Some(error) = failed {
            self.release(&received).await;
            return Err(error);
        }
        received.sort_by_key(|(_, held)| held.dead_letter.id);
        Ok(received)
    }

    async fn release(&self, received: &Received<'_>) {
        let of = |name| received.iter().filter(move |(queue, _)| queue.name == name);
        let releases = self.queues.iter().map(|queue| {
            let held = of(queue.name).map(|(_, held)| held);
            queue.release(held)
        });
        join_all(releases).await;
    }
}
