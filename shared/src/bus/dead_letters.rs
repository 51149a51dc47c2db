//! Reads dead letters, and sends them again or discards them, with an audit row for each.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::aws::SqsDeadLetters;
use super::message::QueueDepth;
use super::postgres::{Queue, dead_letters};
use super::selection::{Action, DeadLetter, DeadLettersError, Selection};

/// The dead letters of one edition. Cheap to clone.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// In the same tables as their queue.
    Postgres(Queue),
    Sqs(SqsDeadLetters),
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
            Self::Postgres(queue) => {
                Ok(dead_letters::list(queue.pool(), selection, after, limit).await?)
            }
            Self::Sqs(dead_letters) => dead_letters.list(selection, after, limit).await,
        }
    }

    /// One dead letter, with the body of its message.
    pub async fn find(&self, id: i64) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        match self {
            Self::Postgres(queue) => {
                let pool = queue.pool();
                let one = Selection { ids: Some(vec![id]), ..Selection::default() };
                let dead_letter = dead_letters::list(pool, &one, 0, 1).await?.pop();
                Ok(dead_letter.zip(dead_letters::find_body(pool, id).await?))
            }
            Self::Sqs(dead_letters) => dead_letters.find(id).await,
        }
    }

    /// The number of dead letters in a selection.
    pub async fn count(&self, selection: &Selection) -> Result<i64, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(dead_letters::count(queue.pool(), selection).await?),
            Self::Sqs(dead_letters) => dead_letters.count(selection).await,
        }
    }

    /// Applies `action` to the dead letters of a selection, or to the oldest `limit` of them, and
    /// records `actor` in the audit. Returns their number.
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
                Ok(dead_letters::settle(queue.pool(), selection, limit, action, actor, now).await?)
            }
            Self::Sqs(dead_letters) => {
                dead_letters.settle(selection, limit, action, actor, now).await
            }
        }
    }

    /// The depth of their queue, and their number.
    pub async fn depth(&self) -> Result<QueueDepth, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(queue.depth().await?),
            Self::Sqs(dead_letters) => Ok(dead_letters.depth().await?),
        }
    }
}
