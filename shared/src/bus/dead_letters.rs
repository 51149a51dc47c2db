//! Reads the dead letters of every queue, and sends them again or discards them, with an audit row
//! for each.

use chrono::{DateTime, Utc};

use super::aws::SqsDeadLetters;
use super::message::QueueDepth;
use super::postgres::{Queues, dead_letters};
use super::selection::{Action, DeadLetter, DeadLettersError, Selection};
use crate::id::UserId;

/// The dead letters of one edition. Cheap to clone.
#[derive(Clone, Debug)]
pub enum DeadLetters {
    /// In the same tables as their queues.
    Postgres(Queues),
    Sqs(SqsDeadLetters),
}

impl DeadLetters {
    /// The names of the queues in the routes.
    pub fn queues(&self) -> Vec<&'static str> {
        match self {
            Self::Postgres(queues) => queues.names(),
            Self::Sqs(dead_letters) => dead_letters.queues(),
        }
    }

    /// The dead letters of a selection after `after`, oldest first.
    pub async fn list(
        &self,
        selection: &Selection,
        after: i64,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, DeadLettersError> {
        match self {
            Self::Postgres(queues) => {
                Ok(dead_letters::list(queues.pool(), selection, after, limit).await?)
            }
            Self::Sqs(dead_letters) => dead_letters.list(selection, after, limit).await,
        }
    }

    /// One dead letter, with the body of its message.
    pub async fn find(&self, id: i64) -> Result<Option<(DeadLetter, String)>, DeadLettersError> {
        match self {
            Self::Postgres(queues) => {
                let pool = queues.pool();
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
            Self::Postgres(queues) => Ok(dead_letters::count(queues.pool(), selection).await?),
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
        actor: UserId,
        now: DateTime<Utc>,
    ) -> Result<i64, DeadLettersError> {
        match self {
            Self::Postgres(queues) => {
                Ok(dead_letters::settle(queues.pool(), selection, limit, action, actor, now)
                    .await?)
            }
            Self::Sqs(dead_letters) => {
                dead_letters.settle(selection, limit, action, actor, now).await
            }
        }
    }

    /// The depth of each queue, with the number of its dead letters, in the order of the routes.
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, DeadLettersError> {
        match self {
            Self::Postgres(queues) => {
                let mut depths = Vec::new();
                for queue in queues.all() {
                    depths.push(queue.depth().await?);
                }
                Ok(depths)
            }
            Self::Sqs(dead_letters) => Ok(dead_letters.depths().await?),
        }
    }
}
