//! The errors of a store in PostgreSQL, each with its operation and table.

use std::error::Error;
use std::sync::Arc;

use super::{has_code, is_transient, is_unreachable};
use crate::http::problem::Problem;

/// A statement failed, or returned a row that this build cannot read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}")]
pub struct StoreError {
    doing: &'static str,
    /// Shared, because the rows of one statement may have different callers.
    source: Arc<sqlx::Error>,
}

impl StoreError {
    /// Whether the store is the reason, so that a retry may well succeed.
    pub fn is_transient(&self) -> bool {
        is_transient(&self.source)
    }

    /// Whether PostgreSQL cannot be reached, so that other statements would fail as well.
    pub fn is_unreachable(&self) -> bool {
        is_unreachable(&self.source)
    }

    /// Whether PostgreSQL cancelled the statement because it took too long, so that the statement would
    /// take as long again.
    pub fn is_cancelled(&self) -> bool {
        has_code(&self.source, "57014")
    }

    /// Whether a lock was not free in time.
    pub fn is_lock_timeout(&self) -> bool {
        has_code(&self.source, "55P03")
    }

    /// The name of the constraint that the statement violated, if any.
    pub fn violated_constraint(&self) -> Option<&str> {
        super::violated_constraint(&self.source)
    }
}

/// Names what was being done: `statement.await.map_err(doing("reading inventory.stock"))`.
pub fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError { doing, source: Arc::new(source) }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The kind follows from what PostgreSQL said; the log also names the operation.
        let problem = Self::from(Arc::clone(&error.source));
        Self { source: Some(Box::new(error)), ..problem }
    }
}

/// A column whose value this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("decoding {table}.{column} of {row}")]
pub struct DecodeError {
    pub table: &'static str,
    pub column: &'static str,
    /// The key of the row.
    pub row: String,
    pub source: Box<dyn Error + Send + Sync>,
}

impl From<DecodeError> for sqlx::Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry;

    #[test]
    fn decode_error_names_operation_table_column_row_and_cause() {
        let decode = DecodeError {
            table: "identity.users",
            column: "roles",
            row: "id 7".to_owned(),
            source: "must be buyer, seller or operator".into(),
        };
        let problem = Problem::from(doing("reading a user")(decode.into()));
        assert_eq!(problem.kind.code, "internal");
        let causes = telemetry::causes(problem.source.unwrap().as_ref());
        assert!(causes.starts_with("reading a user: "), "{causes}");
        assert!(
            causes.contains("decoding identity.users.roles of id 7: must be buyer"),
            "{causes}"
        );
    }

    #[test]
    fn unavailable_store_stays_a_503_with_its_operation_in_the_log() {
        let problem = Problem::from(doing("reading a user")(sqlx::Error::PoolTimedOut));
        assert_eq!((problem.kind.code, problem.retry_after), ("unavailable", Some(1)));
        let causes = telemetry::causes(problem.source.unwrap().as_ref());
        assert!(causes.starts_with("reading a user: "), "{causes}");
    }
}
