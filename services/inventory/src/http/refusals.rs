//! How the service refuses: its kinds of problems, and which of them a refusal becomes.

use std::sync::Arc;

use shared::http::etag;
use shared::http::problem::{IDEMPOTENCY_KEY_REUSED, Kind, Problem, STALE_VERSION};

use crate::create::CreateError;
use crate::revise::ReviseError;
use crate::store::{StoreError, WriteError};
use crate::{product, stock};

/// The kinds of problems that only this service answers with.
pub static PROBLEMS: &[&Kind] = &[&SKU_TAKEN, &STOCK_BELOW_HELD, &STOCK_OUT_OF_RANGE];

static SKU_TAKEN: Kind = Kind {
    code: "sku_taken",
    status: 409,
    title: "The SKU is taken",
    explanation: "Another of your products that is not deleted has this `sku`. Take another one, or \
                  change or delete the product that has it: `GET /v1/products?sku=` finds it.",
};

static STOCK_BELOW_HELD: Kind = Kind {
    code: "stock_below_held",
    status: 409,
    title: "Buyers hold more than that",
    explanation: "`on_hand` cannot be set below what buyers hold at present. If pieces were lost, \
                  say so with an adjustment: it may go below, and flags the orders that it breaks.",
};

static STOCK_OUT_OF_RANGE: Kind = Kind {
    code: "stock_out_of_range",
    status: 409,
    title: "There would be less than nothing, or too much",
    explanation: "After the adjustment `on_hand` would be below 0 or above 10^9.",
};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind_of = Self::from(Arc::clone(&error.source));
        Self { source: Some(Box::new(error)), ..kind_of }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::SkuTaken => SKU_TAKEN.because("another of your products has this sku"),
            WriteError::Store(error) => error.into(),
            again @ (WriteError::KeyUsed | WriteError::Busy | WriteError::Silent) => {
                Self::unavailable(again)
            }
            lost @ WriteError::Lost => Self::internal(lost),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Refused(refusal) => refusal.into(),
            CreateError::SkuTaken { sku } => {
                SKU_TAKEN.because(format!("another of your products has the sku {sku:?}"))
            }
            CreateError::KeyReused => IDEMPOTENCY_KEY_REUSED.because(""),
            CreateError::Write(error) => error.into(),
            CreateError::NoEntry => no_entry(),
        }
    }
}

/// The journal has no entry for what an idempotency key was used for.
pub(super) fn no_entry() -> Problem {
    Problem::internal("the journal has no entry for what an idempotency key was used for")
}

impl From<ReviseError> for Problem {
    fn from(error: ReviseError) -> Self {
        match error {
            ReviseError::NotFound => Self::not_found(),
            ReviseError::Refused(refusal) => refusal.into(),
            ReviseError::Write(error) => error.into(),
            ReviseError::LockIgnored => Self::internal("a locked product was changed concurrently"),
        }
    }
}

impl From<product::Refusal> for Problem {
    fn from(refusal: product::Refusal) -> Self {
        match refusal {
            product::Refusal::Stale { current } => stale(current),
            product::Refusal::Invalid(errors) => Self::invalid(errors),
        }
    }
}

fn stale(current: i64) -> Problem {
    STALE_VERSION.because(format!("the current version is {}", etag(current)))
}

impl From<stock::Refusal> for Problem {
    fn from(refusal: stock::Refusal) -> Self {
        match refusal {
            stock::Refusal::Stale { current } => stale(current),
            stock::Refusal::BelowHeld { held } => {
                STOCK_BELOW_HELD.because(format!("buyers hold {held} at present"))
            }
            stock::Refusal::OutOfRange { would_be } => {
                STOCK_OUT_OF_RANGE.because(format!("on_hand would be {would_be}"))
            }
        }
    }
}
