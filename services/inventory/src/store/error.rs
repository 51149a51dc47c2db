//! The errors of the store, each with its operation and table.

use std::error::Error;
use std::sync::Arc;

use shared::database;

/// A statement failed, or returned a row that this build cannot read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}")]
pub(crate) struct StoreError {
    doing: &'static str,
    /// Shared, because the rows of one statement may have different callers.
    pub(crate) source: Arc<sqlx::Error>,
}

impl StoreError {
    /// Whether the store is the reason, so that a retry may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        database::is_transient(&self.source)
    }

    /// Whether PostgreSQL cannot be reached, so that other statements would fail as well.
    pub(crate) fn is_unreachable(&self) -> bool {
        database::is_unreachable(&self.source)
    }
}

/// Names what was being done: `statement.await.map_err(doing("reading inventory.stock"))`.
pub(crate) fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |source| StoreError { doing, source: Arc::new(source) }
}

/// A column whose value this build cannot read.
#[derive(Debug, thiserror::Error)]
#[error("decoding {table}.{column} of {row}")]
pub(crate) struct DecodeError {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// The key of the row.
    pub(crate) row: String,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

impl From<DecodeError> for sqlx::Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Box::new(error))
    }
}

/// Why a write stored nothing, or may have stored nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another of the seller's products has the SKU, or took it at the same moment.
    #[error("the sku is taken")]
    SkuTaken,
    #[error("the idempotency key was used at the same moment")]
    KeyUsed,
    #[error(transparent)]
    Store(StoreError),
    #[error("too many products wait to be written")]
    Busy,
    /// Whether the rows were written is unknown.
    #[error("PostgreSQL did not report in time whether a product was written")]
    Silent,
    /// Whether the row was written is unknown.
    #[error("the writer ended before it reported whether a product was written")]
    Lost,
}

impl WriteError {
    /// Whether the store is the reason, so that a retry may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Busy | Self::Silent => true,
            Self::SkuTaken | Self::KeyUsed | Self::Lost => false,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        match database::violated_constraint(&error.source) {
            Some("products_sku") => Self::SkuTaken,
            Some("idempotency_pkey") => Self::KeyUsed,
            _ => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::telemetry;

    use super::*;

    #[test]
    fn error_names_its_operation_table_column_and_row() {
        let fault = DecodeError {
            table: "inventory.products",
            column: "status",
            row: "id 7".to_owned(),
            source: "must be draft, active or archived".into(),
        };
        let error = doing("reading a product of inventory.products")(fault.into());
        let text = telemetry::causes(&error);
        for part in ["reading a product", "inventory.products.status of id 7", "must be draft"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
