//! A dead letter, a selection of them, and what an operator may do with them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::sqs_error::SqsError;
use crate::database;
use crate::http::problem::Problem;
use crate::id::EventId;

/// A message that its consumer could not handle.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct DeadLetter {
    pub id: i64,
    /// The queue, as `GET /v1/admin/queues` names it.
    pub queue: String,
    #[schema(value_type = Uuid)]
    pub event_id: EventId,
    pub event_type: String,
    /// The id of what the event is about, such as a product.
    pub subject: Uuid,
    pub reason: String,
    pub attempts: i32,
    pub sent_at: DateTime<Utc>,
    pub dead_at: DateTime<Utc>,
}

/// Selects the dead letters that match every field that is set.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub ids: Option<Vec<i64>>,
    /// Its name in the routes.
    pub queue: Option<String>,
    pub event_type: Option<String>,
    /// Part of the reason.
    pub reason: Option<String>,
    /// Became a dead letter before then.
    pub before: Option<DateTime<Utc>>,
    pub subject: Option<Uuid>,
}

/// What an operator may do with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends the message to its queue again, as if it had never been received.
    Redrive,
    /// Deletes the message permanently.
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

/// Dead letters could not be read or settled. Unsettled dead letters are kept.
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

impl Selection {
    pub(super) fn matches(&self, dead_letter: &DeadLetter) -> bool {
        let Self { ids, queue, event_type, reason, before, subject } = self;
        ids.as_ref().is_none_or(|ids| ids.contains(&dead_letter.id))
            && queue.as_ref().is_none_or(|queue| *queue == dead_letter.queue)
            && event_type.as_ref().is_none_or(|event_type| *event_type == dead_letter.event_type)
            && reason.as_ref().is_none_or(|reason| dead_letter.reason.contains(reason.as_str()))
            && before.is_none_or(|before| dead_letter.dead_at < before)
            && subject.is_none_or(|subject| subject == dead_letter.subject)
    }
}
