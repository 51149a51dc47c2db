//! A queue on PostgreSQL that behaves as SQS does: a received message is invisible for the visibility
//! timeout, is redelivered unless it was deleted, and becomes a dead letter after too many attempts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::bus::message::{
    DEAD_LETTER_KEPT, MAX_ATTEMPTS, MESSAGE_KEPT, Outcome, QueueDepth, brief,
};
use crate::clock::Clock;
use crate::failpoint;
use crate::id::EventId;

/// A received message.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: i64,
    pub body: String,
    pub sent_at: DateTime<Utc>,
    /// Number of receives, including this one.
    pub attempts: i32,
}

/// One consumer's queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    pool: PgPool,
    clock: Clock,
    name: String,
    visibility: Duration,
    max_attempts: i32,
}

impl Queue {
    /// Thirty seconds of visibility and five attempts.
    pub fn new(pool: PgPool, clock: Clock, name: &str) -> Self {
        Self {
            pool,
            clock,
            name: name.to_owned(),
            visibility: Duration::from_secs(30),
            max_attempts: MAX_ATTEMPTS,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// No message is hidden until later than this, unless the clock was set back; then it is visible. Twice
    /// the visibility timeout: the clock of another process may be ahead.
    fn latest_visible(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.visibility + self.visibility
    }

    /// Receives up to `max` messages, oldest first.
    pub async fn receive(&self, max: i64) -> Result<Vec<Message>, sqlx::Error> {
        let now = self.clock.now();
        let mut messages = sqlx::query_as!(
            Message,
            "update bus.messages
             set visible_at = $4, attempts = attempts + 1
             where id = any(array(
                 select id from bus.messages
                 where queue = $1 and (visible_at <= $2 or visible_at > $6) and attempts < $5
                 order by visible_at, id
                 limit $3
                 for update skip locked))
             returning id, body, sent_at, attempts",
            self.name,
            now,
            max,
            now + self.visibility,
            self.max_attempts,
            self.latest_visible(now),
        )
        .fetch_all(&self.pool)
        .await?;
        messages.sort_unstable_by_key(|message| message.id);
        Ok(messages)
    }

    /// Makes every message visible at once.
    ///
    /// For the start of an only consumer: messages that a killed consumer had received need not
    /// wait for their visibility timeout.
    pub async fn release(&self) -> Result<u64, sqlx::Error> {
        let now = self.clock.now();
        let released = sqlx::query!(
            "update bus.messages set visible_at = $2 where queue = $1 and visible_at > $2",
            self.name,
            now,
        )
        .execute(&self.pool)
        .await?;
        Ok(released.rows_affected())
    }

    /// Settles received messages, each by its outcome.
    pub async fn settle(&self, outcomes: Vec<(Message, Outcome)>) -> Result<(), sqlx::Error> {
        let mut done = Vec::new();
        let (mut retry, mut retry_reasons) = (Vec::new(), Vec::new());
        let (mut visible, mut attempts) = (Vec::new(), Vec::new());
        let (mut dead, mut dead_reasons) = (Vec::new(), Vec::new());
        let now = self.clock.now();
        for (message, outcome) in outcomes {
            match outcome {
                Outcome::Done => done.push(message.id),
                Outcome::Retry { reason } if message.attempts < self.max_attempts => {
                    retry.push(message.id);
                    retry_reasons.push(brief(&reason));
                    visible.push(now + backoff(message.attempts));
                    attempts.push(message.attempts);
                }
                Outcome::Later { reason } => {
                    retry.push(message.id);
                    retry_reasons.push(brief(&reason));
                    visible.push(now + UNAVAILABLE_BACKOFF);
                    attempts.push(message.attempts - 1);
                }
                Outcome::Retry { reason } | Outcome::Dead { reason } => {
                    dead.push(message.id);
                    dead_reasons.push(brief(&reason));
                }
            }
        }
        if !done.is_empty() {
            sqlx::query!("delete from bus.messages where id = any($1)", &done)
                .execute(&self.pool)
                .await?;
            failpoint::reach("queue.deleted").await;
        }
        if !retry.is_empty() {
            sqlx::query!(
                "update bus.messages m
                 set visible_at = r.visible_at, last_failure = r.reason, attempts = r.attempts
                 from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::int[])
                      as r (id, reason, visible_at, attempts)
                 where m.id = r.id",
                &retry,
                &retry_reasons,
                &visible,
                &attempts,
            )
            .execute(&self.pool)
            .await?;
            failpoint::reach("queue.put_back").await;
        }
        if !dead.is_empty() {
            sqlx::query!(
                "with gone as (
                     delete from bus.messages m
                     using unnest($1::bigint[], $2::text[]) as d (id, reason)
                     where m.id = d.id
                     returning m.*, d.reason)
                 insert into bus.dead_letters
                     (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at,
                      dead_at)
                 select id, queue, event_id, event_type, subject, body, reason, attempts, sent_at,
                        $3
                 from gone",
                &dead,
                &dead_reasons,
                now,
            )
            .execute(&self.pool)
            .await?;
            let count = u64::try_from(dead.len()).unwrap_or(0);
            metrics::counter!("vitrina_events_buried_total").increment(count);
            failpoint::reach("queue.dead_lettered").await;
        }
        Ok(())
    }

    /// Makes dead letters of messages that were received too often and never settled: each time, their
    /// consumer crashed.
    pub async fn make_exhausted_dead_letters(&self) -> Result<u64, sqlx::Error> {
        let now = self.clock.now();
        let moved = sqlx::query!(
            "with gone as (
                 delete from bus.messages
                 where queue = $1 and (visible_at <= $2 or visible_at > $4) and attempts >= $3
                 returning *)
             insert into bus.dead_letters
                 (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at, dead_at)
             select id, queue, event_id, event_type, subject, body,
                    coalesce(last_failure, 'every attempt ended without a result'), attempts,
                    sent_at, $2
             from gone",
            self.name,
            now,
            self.max_attempts,
            self.latest_visible(now),
        )
        .execute(&self.pool)
        .await?;
        let count = moved.rows_affected();
        if count > 0 {
            metrics::counter!("vitrina_events_buried_total").increment(count);
        }
        Ok(count)
    }

    /// Makes dead letters of messages that are older than `MESSAGE_KEPT`, and deletes dead letters with an
    /// event older than [`DEAD_LETTER_KEPT`]. Returns the number of each.
    pub async fn expire(&self) -> Result<(i64, i64), sqlx::Error> {
        let now = self.clock.now();
        let row = sqlx::query!(
            r#"with late as (
                   delete from bus.messages where queue = $1 and sent_at < $3 returning *),
               buried as (
                   insert into bus.dead_letters
                       (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at,
                        dead_at)
                   select id, queue, event_id, event_type, subject, body,
                          coalesce(last_failure, 'it waited for too long'), attempts, sent_at, $2
                   from late where sent_at >= $4),
               gone as (
                   delete from bus.dead_letters where queue = $1 and sent_at < $4 returning *),
               audit as (
                   insert into bus.dead_letter_audit
                       (at, actor, action, dead_letter_id, queue, event_id, reason)
                   select $2, 'retention', 'expire', id, queue, event_id, reason from gone
                   union all
                   select $2, 'retention', 'expire', id, queue, event_id,
                          coalesce(last_failure, 'it waited for too long')
                   from late where sent_at < $4)
               select (select count(*) from late) as "late!", (select count(*) from gone) as "gone!""#,
            self.name,
            now,
            now - MESSAGE_KEPT,
            now - DEAD_LETTER_KEPT,
        )
        .fetch_one(&self.pool)
        .await?;
        // Also those that are too old to be kept as dead letters: they are lost, too, and audited.
        let count = u64::try_from(row.late).unwrap_or(0);
        if count > 0 {
            metrics::counter!("vitrina_events_buried_total").increment(count);
        }
        Ok((row.late, row.gone))
    }

    pub async fn depth(&self) -> Result<QueueDepth, sqlx::Error> {
        let now = self.clock.now();
        let row = sqlx::query!(
            r#"select count(*) filter (where visible_at <= $2 or visible_at > $3) as "visible!",
                      count(*) filter (where visible_at > $2 and visible_at <= $3) as "in_flight!",
                      min(sent_at) as oldest_sent_at,
                      (select count(*) from bus.dead_letters where queue = $1) as "dead_letters!"
               from bus.messages where queue = $1"#,
            self.name,
            now,
            self.latest_visible(now),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(QueueDepth {
            queue: self.name.clone(),
            visible: row.visible,
            in_flight: row.in_flight,
            dead_letters: row.dead_letters,
            oldest_sent_at: row.oldest_sent_at,
        })
    }

    /// The `subjects` that have messages in this queue, with the types of their events.
    pub async fn waiting_among(
        &self,
        subjects: &[Uuid],
    ) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
        let rows = sqlx::query!(
            "select distinct subject, event_type from bus.messages
             where queue = $1 and subject = any($2)",
            self.name,
            subjects,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.subject, row.event_type)).collect())
    }

    /// The messages about `subject` in this queue, oldest first.
    pub async fn waiting_for(&self, subject: Uuid) -> Result<Vec<Waiting>, sqlx::Error> {
        sqlx::query_as!(
            Waiting,
            "select event_id, attempts, sent_at, last_failure from bus.messages
             where queue = $1 and subject = $2 order by id",
            self.name,
            subject,
        )
        .fetch_all(&self.pool)
        .await
    }
}

/// A message that is not handled yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub event_id: EventId,
    pub attempts: i32,
    pub sent_at: DateTime<Utc>,
    pub last_failure: Option<String>,
}

/// Backoff of a message while its store does not respond.
const UNAVAILABLE_BACKOFF: Duration = Duration::from_secs(1);

/// Backoff of a failed message: 0.2 s, then four times as long each time.
fn backoff(attempts: i32) -> Duration {
    let exponent = u32::try_from(attempts.clamp(1, 6) - 1).unwrap_or(0);
    Duration::from_millis(200 * 4_u64.pow(exponent))
}
