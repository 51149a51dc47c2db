//! A dead letter, which of them are meant, and what may be done with them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::aws::SqsError;
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
