//! Dead letters: looked at, sent again or given up, and an audit row for each of the latter two.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::aws::SqsDeadLetters;
use super::dead_letter::{Action, DeadLetter, DeadLettersError, Selection};
use super::message::QueueDepth;
use super::postgres::{Queue, dead_letters};

/// Where dead letters are. Cheap to clone.
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
            Self::Sqs(letters) => letters.list(selection, after, limit).await,
        }
    }

    /// One dead letter with its message as it was received.
    pub async fn find(&self, id: i64) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        match self {
            Self::Postgres(queue) => {
                let pool = queue.pool();
                let one = Selection { ids: Some(vec![id]), ..Selection::default() };
                let letter = dead_letters::list(pool, &one, 0, 1).await?.pop();
                Ok(letter.zip(dead_letters::find_body(pool, id).await?))
            }
            Self::Sqs(letters) => letters.find(id).await,
        }
    }

    /// How many dead letters a selection has.
    pub async fn count(&self, selection: &Selection) -> Result<i64, DeadLettersError> {
        match self {
            Self::Postgres(queue) => Ok(dead_letters::count(queue.pool(), selection).await?),
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
                Ok(dead_letters::settle(queue.pool(), selection, limit, action, actor, now).await?)
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
