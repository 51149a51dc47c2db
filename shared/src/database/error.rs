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
    use std::borrow::Cow;

    use sqlx::error::{DatabaseError, ErrorKind};

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

    /// An error of the server with this SQLSTATE.
    #[derive(Debug, thiserror::Error)]
    #[error("planted")]
    struct Refused(&'static str);

    impl DatabaseError for Refused {
        fn message(&self) -> &'static str {
            "planted"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    /// What an error means.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Meaning {
        /// No other statement would get a response either.
        Unreachable,
        /// A retry may succeed, and so may another statement.
        Transient,
        /// The client sent a value that PostgreSQL refuses.
        Malformed,
        Internal,
    }

    use Meaning::{Internal, Malformed, Transient, Unreachable};

    const SQLSTATES: [(&str, Meaning); 40] = [
        ("08000", Unreachable),
        ("08006", Unreachable),
        ("08P01", Unreachable),
        ("22003", Malformed),
        ("22008", Malformed),
        ("22P02", Malformed),
        ("23502", Internal),
        ("23505", Internal),
        ("23514", Internal),
        ("25001", Internal),
        // A standby, during a failover.
        ("25006", Transient),
        ("25P01", Internal),
        ("25P02", Internal),
        // The session was idle in a transaction for too long, or the transaction took too long.
        ("25P03", Transient),
        ("25P04", Transient),
        // A refused log-in, for instance with a token that has expired.
        ("28000", Unreachable),
        ("28P01", Unreachable),
        ("3D000", Internal),
        ("40000", Transient),
        ("40001", Transient),
        ("40P01", Transient),
        ("42501", Internal),
        ("42P01", Internal),
        ("53100", Unreachable),
        ("53200", Unreachable),
        ("53300", Unreachable),
        ("54000", Internal),
        ("55000", Internal),
        ("55006", Internal),
        ("55P03", Transient),
        ("57000", Transient),
        // Only this statement was cancelled.
        ("57014", Transient),
        ("57P01", Unreachable),
        ("57P02", Unreachable),
        ("57P03", Unreachable),
        ("58000", Transient),
        ("58030", Transient),
        ("58P01", Transient),
        ("P0001", Internal),
        ("XX000", Internal),
    ];

    fn meaning(error: sqlx::Error) -> (bool, bool, &'static str, Option<u32>) {
        let error = doing("reading a user")(error);
        let (is_transient, is_unreachable) = (error.is_transient(), error.is_unreachable());
        let problem = Problem::from(error);
        (is_transient, is_unreachable, problem.kind.code, problem.retry_after)
    }

    fn expected(meaning: Meaning) -> (bool, bool, &'static str, Option<u32>) {
        match meaning {
            Unreachable => (true, true, "unavailable", Some(1)),
            Transient => (true, false, "unavailable", Some(1)),
            Malformed => (false, false, "malformed_request", None),
            Internal => (false, false, "internal", None),
        }
    }

    #[test]
    fn each_sqlstate_has_its_meaning() {
        for (code, means) in SQLSTATES {
            let error = sqlx::Error::Database(Box::new(Refused(code)));
            assert_eq!(meaning(error), expected(means), "{code}");
        }
    }

    #[test]
    fn each_error_without_a_response_has_its_meaning() {
        let other = || "planted".into();
        for (error, means) in [
            (sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()), Unreachable),
            (sqlx::Error::Tls(other()), Unreachable),
            (sqlx::Error::Protocol("planted".to_owned()), Unreachable),
            (sqlx::Error::PoolTimedOut, Unreachable),
            (sqlx::Error::PoolClosed, Unreachable),
            (sqlx::Error::WorkerCrashed, Unreachable),
            (sqlx::Error::RowNotFound, Internal),
            (sqlx::Error::Configuration(other()), Internal),
            (sqlx::Error::Decode(other()), Internal),
            (sqlx::Error::Encode(other()), Internal),
            (sqlx::Error::ColumnNotFound("planted".to_owned()), Internal),
        ] {
            let text = error.to_string();
            assert_eq!(meaning(error), expected(means), "{text}");
        }
    }
}
