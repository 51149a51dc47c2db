//! The stock of a product. It is an aggregate of its own, so that a buyer's hold never makes a
//! seller's edit fail.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The stock of one product.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
pub struct Stock {
    /// Pieces that the seller has.
    pub on_hand: i64,
    /// Pieces of those that buyers hold.
    pub held: i64,
    /// Grows by one with every change; has nothing to do with the product's version.
    pub version: i64,
    pub updated_at: DateTime<Utc>,
}

impl Stock {
    /// Pieces that can still be bought.
    pub fn available(&self) -> i64 {
        self.on_hand - self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_is_on_hand_without_held() {
        for (on_hand, held, available) in [(5, 3, 2), (5, 0, 5), (3, 3, 0), (2, 7, -5)] {
            let updated_at = DateTime::UNIX_EPOCH;
            let stock = Stock { on_hand, held, version: 1, updated_at };
            assert_eq!(stock.available(), available, "{on_hand} {held}");
        }
    }
}
