//! Why a write failed.

use shared::database::StoreError;

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
        match error.violated_constraint() {
            Some("products_sku") => Self::SkuTaken,
            Some("idempotency_pkey") => Self::KeyUsed,
            _ => Self::Store(error),
        }
    }
}
