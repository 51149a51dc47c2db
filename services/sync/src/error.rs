//! Errors: each names the attempted operation and keeps its cause.

use std::borrow::Cow;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use shared::database;
use shared::dynamodb::{self, BatchError};
use shared::http::problem::Problem;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A statement or a call to a store failed. `doing` names the operation, the table and, where there
/// is one, the row.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{doing}")]
    Postgres { doing: Cow<'static, str>, source: sqlx::Error },
    #[error("{doing}")]
    DynamoDb { doing: Cow<'static, str>, transient: bool, source: Cause },
}

impl StoreError {
    pub(crate) fn postgres(
        doing: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Postgres { doing: doing.into(), source }
    }

    pub(crate) fn dynamodb<E, R>(
        doing: impl Into<Cow<'static, str>>,
    ) -> impl FnOnce(SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        move |error| Self::DynamoDb {
            doing: doing.into(),
            transient: dynamodb::is_transient(&error),
            source: Box::new(error),
        }
    }

    pub(crate) fn batch(doing: impl Into<Cow<'static, str>>) -> impl FnOnce(BatchError) -> Self {
        move |error| Self::DynamoDb {
            doing: doing.into(),
            transient: error.is_transient(),
            source: Box::new(error),
        }
    }

    /// Whether the store is the reason and a retry may well succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => database::is_transient(source),
            Self::DynamoDb { transient, .. } => *transient,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

/// A round failed. The work that it left is still pending, and the next round takes it up.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a store did not respond within {0:?}")]
    Silent(Duration),
}
