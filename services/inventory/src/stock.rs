//! The rules of stock. Time and state come in; stock and refusals come out.

use chrono::{DateTime, Utc};
use shared::contract::stock::Stock;

use shared::expected::Expected;

/// The most pieces of one product.
pub(crate) const MAX_ON_HAND: i64 = 1_000_000_000;

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The caller decided on another version than the current one.
    Stale { current: i64 },
    /// Buyers hold more than `on_hand` would be.
    BelowHeld { held: i64 },
    /// The result would be below 0 or above [`MAX_ON_HAND`].
    OutOfRange { would_be: i64 },
}

pub(crate) fn check_on_hand(on_hand: i64) -> Result<i64, &'static str> {
    if (0..=MAX_ON_HAND).contains(&on_hand) { Ok(on_hand) } else { Err("must be 0 to 10^9") }
}

/// The first stock of a product.
pub(crate) fn first(on_hand: i64, now: DateTime<Utc>) -> Stock {
    Stock { on_hand, held: 0, version: 1, updated_at: now }
}

/// Sets the pieces on hand, as after a count. Returns `None` if that changes nothing.
pub(crate) fn set(
    stock: &Stock,
    on_hand: i64,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Option<Stock>, Refusal> {
    if !expected.accepts(stock.version) {
        return Err(Refusal::Stale { current: stock.version });
    }
    if on_hand < stock.held {
        return Err(Refusal::BelowHeld { held: stock.held });
    }
    Ok((on_hand != stock.on_hand).then(|| next_version(stock, on_hand, now)))
}

/// Adds or removes pieces for another reason than a sale. The result may be below the held pieces:
/// a loss is a fact, even if buyers hold what was lost.
pub(crate) fn adjust(stock: &Stock, delta: i64, now: DateTime<Utc>) -> Result<Stock, Refusal> {
    let on_hand = stock.on_hand.saturating_add(delta);
    if check_on_hand(on_hand).is_err() {
        return Err(Refusal::OutOfRange { would_be: on_hand });
    }
    Ok(next_version(stock, on_hand, now))
}

/// The same stock at a version above `seen`, so that a listing at that version accepts it. Returns
/// `None` if the stock is above it already.
pub(crate) fn raise(stock: &Stock, seen: i64, now: DateTime<Utc>) -> Option<Stock> {
    (stock.version <= seen).then(|| {
        let seen = Stock { version: seen, ..stock.clone() };
        next_version(&seen, stock.on_hand, now)
    })
}

fn next_version(stock: &Stock, on_hand: i64, now: DateTime<Utc>) -> Stock {
    let updated_at = now.max(stock.updated_at);
    Stock { on_hand, held: stock.held, version: stock.version + 1, updated_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(on_hand: i64, held: i64) -> Stock {
        Stock { on_hand, held, version: 3, updated_at: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn count_below_held_is_refused() {
        let refusal = set(&stock(5, 3), 2, &Expected::OneOf(vec![3]), DateTime::UNIX_EPOCH);
        assert_eq!(refusal, Err(Refusal::BelowHeld { held: 3 }));
        let least = set(&stock(5, 3), 3, &Expected::Any, DateTime::UNIX_EPOCH).unwrap().unwrap();
        assert_eq!((least.on_hand, least.held), (3, 3));
    }

    #[test]
    fn loss_may_go_below_held_but_not_below_zero() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(adjust(&stock(5, 3), -4, now).unwrap().on_hand, 1);
        assert_eq!(adjust(&stock(5, 3), -6, now), Err(Refusal::OutOfRange { would_be: -1 }));
        assert!(adjust(&stock(5, 3), i64::MAX, now).is_err());
    }

    #[test]
    fn raised_stock_keeps_its_pieces_above_the_seen_version() {
        let raised = raise(&stock(5, 3), 9, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!((raised.on_hand, raised.held, raised.version), (5, 3, 10));
        assert_eq!(raise(&stock(5, 3), 2, DateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn later_version_is_never_older() {
        let second = |n| DateTime::from_timestamp(n, 0).unwrap();
        let before = Stock { updated_at: second(10), ..stock(5, 3) };
        for (now, updated_at) in [(9, 10), (10, 10), (11, 11)] {
            let changes = [
                set(&before, 6, &Expected::Any, second(now)).unwrap().unwrap(),
                adjust(&before, 1, second(now)).unwrap(),
                raise(&before, 3, second(now)).unwrap(),
            ];
            assert_eq!(changes.map(|stock| stock.updated_at), [second(updated_at); 3]);
        }
    }

    #[test]
    fn count_that_changes_nothing_makes_no_version() {
        assert_eq!(set(&stock(5, 3), 5, &Expected::Any, DateTime::UNIX_EPOCH), Ok(None));
    }
}
