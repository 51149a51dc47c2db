//! Maps refusals and errors to problems, and lists the kinds of problems of this service.

use shared::http::etag;
use shared::http::problem::{IDEMPOTENCY_KEY_REUSED, Kind, Problem, STALE_VERSION};

use crate::change_stock::StockError;
use crate::create::CreateError;
use crate::revise::ReviseError;
use crate::store::WriteError;
use crate::{product, stock};

/// The kinds of problems that only this service responds with.
pub static PROBLEMS: &[&Kind] = &[&SKU_TAKEN, &STOCK_BELOW_HELD, &STOCK_OUT_OF_RANGE];

static SKU_TAKEN: Kind = Kind {
    code: "sku_taken",
    status: 409,
    title: "The SKU is taken",
    explanation: "Another of your products has this `sku` and is not deleted. Choose another SKU, or \
                  change or delete that product: `GET /v1/products?sku=` finds it.",
};

static STOCK_BELOW_HELD: Kind = Kind {
    code: "stock_below_held",
    status: 409,
    title: "New stock is below the held quantity",
    explanation: "`on_hand` cannot be set below the quantity that buyers hold. If pieces were lost, \
                  record the loss as an adjustment: it may go below the held quantity.",
};

static STOCK_OUT_OF_RANGE: Kind = Kind {
    code: "stock_out_of_range",
    status: 409,
    title: "Stock would be negative or above the maximum",
    explanation: "The adjustment would make `on_hand` negative or greater than 10^9.",
};

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
fn no_entry() -> Problem {
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

impl From<StockError> for Problem {
    fn from(error: StockError) -> Self {
        match error {
            StockError::NotFound => Self::not_found(),
            StockError::Refused(refusal) => refusal.into(),
            StockError::KeyReused => IDEMPOTENCY_KEY_REUSED.because(""),
            StockError::Store(error) => error.into(),
            StockError::NoEntry => no_entry(),
            StockError::LockIgnored => Self::internal("a locked stock was changed concurrently"),
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
                STOCK_BELOW_HELD.because(format!("buyers hold {held}"))
            }
            stock::Refusal::OutOfRange { would_be } => {
                STOCK_OUT_OF_RANGE.because(format!("on_hand would be {would_be}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::doing;

    #[test]
    fn every_failed_write_has_its_status_and_its_retry() {
        let away = doing("inserting")(sqlx::Error::PoolTimedOut);
        let wrong = doing("inserting")(sqlx::Error::RowNotFound);
        for (error, status, code, retry_after) in [
            (WriteError::SkuTaken, 409, "sku_taken", None),
            (WriteError::KeyUsed, 503, "unavailable", Some(1)),
            (WriteError::Busy, 503, "unavailable", Some(1)),
            (WriteError::Silent, 503, "unavailable", Some(1)),
            (WriteError::Store(away), 503, "unavailable", Some(1)),
            (WriteError::Store(wrong), 500, "internal", None),
            (WriteError::Lost, 500, "internal", None),
        ] {
            let name = format!("{error:?}");
            let problem = Problem::from(error);
            assert_eq!((problem.kind.status, problem.kind.code), (status, code), "{name}");
            assert_eq!(problem.retry_after, retry_after, "{name}");
        }
    }
}
