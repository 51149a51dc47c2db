//! Dead letters: looked at, sent again or given up, and an audit row for each of the latter two.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::queue::{Queue, QueueDepth};
use super::sqs::SqsError;
use super::sqs_dead_letters::SqsDeadLetters;
use crate::database;
use crate::http::problem::Problem;

/// A message that nobody could handle.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct DeadLetter {
    pub id: i64,
    pub queue: String,
    pub event_id: Uuid,
    pub event_type: String,
    /// The product that the event is about.
    pub subject: Uuid,
    pub reason: String,
    pub attempts: i32,
    pub sent_at: DateTime<Utc>,
    pub dead_at: DateTime<Utc>,
}

/// Which dead letters are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub ids: Option<Vec<i64>>,
    pub event_type: Option<String>,
    /// Part of the reason.
    pub reason: Option<String>,
    /// Dead since before then.
    pub before: Option<DateTime<Utc>>,
    pub subject: Option<Uuid>,
}

/// What may be done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Back into its queue, as if it had never been received.
    Redrive,
    /// Given up for good.
    Discard,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }
}

/// Where dead letters are. Cheap to clone.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// In the same tables as their queue.
    Postgres(Queue),
    Sqs(SqsDeadLetters),
}

/// Dead letters could not be looked at, or not be settled. Those that were not are still there.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    #[error("asking PostgreSQL about dead letters")]
    Database(#[from] sqlx::Error),
    #[error("asking SQS about dead letters")]
    Sqs(#[from] SqsError),
}

impl From<DeadLettersError> for Problem {
    fn from(error: DeadLettersError) -> Self {
        match error {
            DeadLettersError::Database(error) if !database::is_transient(&error) => error.into(),
            error => Self::unavailable(error),
        }
    }
}

impl DeadLetters {
    /// The dead letters of a selection after `after`, oldest first.
    pub async fn list(
        &self,
        selection: &Selection,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(list(queue.pool(), selection, after, limit).await?),
            Self::Sqs(letters) => letters.list(selection, after, limit).await,
        }
    }

    /// One dead letter with its message as it was received.
    pub async fn find(&self, id: i64) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        match self {
            Self::Postgres(queue) => {
                let pool = queue.pool();
                let one = Selection { ids: Some(vec![id]), ..Selection::default() };
                let letter = list(pool, &one, 0, 1).await?.pop();
                Ok(letter.zip(find_body(pool, id).await?))
            }
            Self::Sqs(letters) => letters.find(id).await,
        }
    }

    /// How many dead letters a selection has.
    pub async fn count(&self, selection: &Selection) -> Result<i64, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(count(queue.pool(), selection).await?),
            Self::Sqs(letters) => letters.count(selection).await,
        }
    }

    /// Does `action` with the dead letters of a selection, or only with the oldest `limit` of them,
    /// and notes who did it. Returns how many.
    pub async fn settle(
        &self,
        selection: &Selection,
        limit: Option<i64>,
        action: Action,
        actor: Uuid,
        now: DateTime<Utc>,
    ) -> Result<i64, DeadLettersError> {
        match self {
            Self::Postgres(queue) => {
                Ok(settle(queue.pool(), selection, limit, action, actor, now).await?)
            }
            Self::Sqs(letters) => letters.settle(selection, limit, action, actor, now).await,
        }
    }

    /// How deep the queue is that they come from, and how many they are.
    pub async fn depth(&self) -> Result<QueueDepth, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(queue.depth().await?),
            Self::Sqs(letters) => Ok(letters.depth().await?),
        }
    }
}

impl Selection {
    pub(super) fn fits(&self, letter: &DeadLetter) -> bool {
        let Self { ids, event_type, reason, before, subject } = self;
        ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
            && event_type.as_ref().is_none_or(|event_type| *event_type == letter.event_type)
            && reason.as_ref().is_none_or(|reason| letter.reason.contains(reason.as_str()))
            && before.is_none_or(|before| letter.dead_at < before)
            && subject.is_none_or(|subject| subject == letter.subject)
    }
}

/// The dead letters of a selection after `after`, oldest first.
pub async fn list(
    pool: &PgPool,
    selection: &Selection,
    after: i64,
    limit: i64,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    sqlx::query_as!(
        DeadLetter,
        "select id, queue, event_id, event_type, subject, reason, attempts, sent_at, dead_at
         from bus.dead_letters
         where ($1::bigint[] is null or id = any($1))
           and ($2::text is null or event_type = $2)
           and ($3::text is null or strpos(reason, $3) > 0)
           and ($4::timestamptz is null or dead_at < $4)
           and ($5::uuid is null or subject = $5)
           and id > $6
         order by id
         limit $7",
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
        after,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// How many dead letters a selection has.
pub async fn count(pool: &PgPool, selection: &Selection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from bus.dead_letters
           where ($1::bigint[] is null or id = any($1))
             and ($2::text is null or event_type = $2)
             and ($3::text is null or strpos(reason, $3) > 0)
             and ($4::timestamptz is null or dead_at < $4)
             and ($5::uuid is null or subject = $5)"#,
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
    )
    .fetch_one(pool)
    .await
}

/// The message of a dead letter, as it was received.
pub async fn find_body(pool: &PgPool, id: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select body from bus.dead_letters where id = $1", id)
        .fetch_optional(pool)
        .await
}

/// Does `action` with the dead letters of a selection, or only with the oldest `limit` of them, and
/// notes who did it. Returns how many.
pub async fn settle(
    pool: &PgPool,
    selection: &Selection,
    limit: Option<i64>,
    action: Action,
    actor: Uuid,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with gone as (
               delete from bus.dead_letters
               where id = any(array(
                   select id from bus.dead_letters
                   where ($1::bigint[] is null or id = any($1))
                     and ($2::text is null or event_type = $2)
                     and ($3::text is null or strpos(reason, $3) > 0)
                     and ($4::timestamptz is null or dead_at < $4)
                     and ($5::uuid is null or subject = $5)
                   order by id
                   limit $9::bigint
                   for update))
               returning *),
           again as (
               insert into bus.messages
                   (queue, event_id, event_type, subject, body, sent_at, visible_at)
               select queue, event_id, event_type, subject, body, sent_at, $8
               from gone where $6 = 'redrive'
               order by id),
           audit as (
               insert into bus.dead_letter_audit
                   (at, actor, action, dead_letter_id, queue, event_id, reason)
               select $8, $7::uuid::text, $6, id, queue, event_id, reason from gone order by id)
           select count(*) as "count!" from gone"#,
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
        action.as_str(),
        actor,
        now,
        limit,
    )
    .fetch_one(pool)
    .await
}
