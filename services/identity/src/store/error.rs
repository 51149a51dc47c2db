//! The errors of the store, each with its operation and table.

use std::error::Error;
use std::sync::Arc;

use shared::http::problem::Problem;
use shared::id::UserId;

/// A statement failed, or returned a row that this build cannot read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}")]
pub struct StoreError {
    doing: &'static str,
    source: Arc<sqlx::Error>,
}

/// Names what was being done: `statement.await.map_err(doing("inserting into identity.codes"))`.
pub(super) fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError { doing, source: Arc::new(source) }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The kind follows from what PostgreSQL said; the log also names the operation.
        let problem = Self::from(Arc::clone(&error.source));
        Self { source: Some(Box::new(error)), ..problem }
    }
}

/// A column value that this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("decoding {table}.{column} of {row}")]
pub(super) struct DecodeError {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// The key of the row.
    pub(super) row: UserId,
    pub(super) source: Box<dyn Error + Send + Sync>,
}

impl From<DecodeError> for sqlx::Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use shared::telemetry;

    use super::*;

    #[test]
    fn decode_error_names_operation_table_column_row_and_cause() {
        let decode = DecodeError {
            table: "identity.users",
            column: "roles",
            row: UserId::nil(),
            source: "must be buyer, seller or operator".into(),
        };
        let problem = Problem::from(doing("reading a user")(decode.into()));
        assert_eq!(problem.kind.code, "internal");
        let causes = telemetry::causes(problem.source.unwrap().as_ref());
        assert!(causes.starts_with("reading a user: "), "{causes}");
        assert!(causes.contains(
            "decoding identity.users.roles of 00000000-0000-0000-0000-000000000000: must be buyer"
        ), "{causes}");
    }

    #[test]
    fn unavailable_store_stays_a_503_with_its_operation_in_the_log() {
        let problem = Problem::from(doing("reading a user")(sqlx::Error::PoolTimedOut));
        assert_eq!((problem.kind.code, problem.retry_after), ("unavailable", Some(1)));
        let causes = telemetry::causes(problem.source.unwrap().as_ref());
        assert!(causes.starts_with("reading a user: "), "{causes}");
    }
}
