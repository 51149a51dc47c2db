//! The findings of a pass, summed over its buckets.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::comparison::{Difference, Kind};

/// What comparing some buckets, or a whole pass, found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Findings {
    /// Products that have a row, a listing or both.
    pub compared: i64,
    /// Products without a listing.
    pub missing: i64,
    /// Listings that are older than their products.
    pub stale: i64,
    /// Listings that are newer than their products.
    pub ahead: i64,
    /// Listings without a product.
    pub extra: i64,
    /// Listings of the right version with other content.
    pub altered: i64,
    /// Listings with other stock.
    pub stock: i64,
    /// Differences with events still in flight; the next pass compares them again.
    pub moving: i64,
    /// Products that were announced again.
    pub repaired: i64,
    /// The earliest time at which one of the differences can have begun.
    pub oldest_divergence: Option<DateTime<Utc>>,
}

impl Findings {
    /// Counts a difference. It began after the last time its bucket was compared.
    pub(crate) fn count(&mut self, difference: &Difference, last_check: Option<DateTime<Utc>>) {
        let counter = match difference.kind() {
            Kind::Missing => &mut self.missing,
            Kind::Stale => &mut self.stale,
            Kind::Ahead => &mut self.ahead,
            Kind::Extra => &mut self.extra,
            Kind::Altered => &mut self.altered,
            Kind::Stock => &mut self.stock,
        };
        *counter += 1;
        let since = difference.since().max(last_check);
        self.oldest_divergence = match (self.oldest_divergence, since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// The number of differences of every kind.
    pub fn differences(&self) -> i64 {
        self.missing + self.stale + self.ahead + self.extra + self.altered + self.stock
    }
}

#[cfg(test)]
mod tests {
    use shared::id::ProductId;

    use crate::comparison::Gap;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn difference(kind: Kind, since: Option<DateTime<Utc>>) -> Difference {
        let gap = Gap { kind, truth: 2, seen: 1, since };
        Difference { id: ProductId::from_u128(1), product: Some(gap), stock: None }
    }

    #[test]
    fn each_kind_is_counted_under_its_name() {
        let kinds =
            [Kind::Missing, Kind::Stale, Kind::Ahead, Kind::Extra, Kind::Altered, Kind::Stock];
        let mut findings = Findings::default();
        for (times, kind) in (1..).zip(kinds) {
            for _ in 0..times {
                findings.count(&difference(kind, None), None);
            }
        }
        let expected = Findings {
            missing: 1,
            stale: 2,
            ahead: 3,
            extra: 4,
            altered: 5,
            stock: 6,
            ..Findings::default()
        };
        assert_eq!((findings, findings.differences()), (expected, 21));
    }

    #[test]
    fn difference_began_after_its_change_and_the_last_check() {
        let oldest = |seen: &[(Option<i64>, Option<i64>)]| {
            let mut findings = Findings::default();
            for (since, check) in seen {
                let found = difference(Kind::Stale, since.map(at));
                findings.count(&found, check.map(at));
            }
            findings.oldest_divergence
        };
        assert_eq!(oldest(&[(None, None)]), None);
        assert_eq!(oldest(&[(Some(5), None)]), Some(at(5)));
        assert_eq!(oldest(&[(None, Some(6))]), Some(at(6)));
        assert_eq!(oldest(&[(Some(5), Some(6))]), Some(at(6)));
        assert_eq!(oldest(&[(Some(8), Some(7))]), Some(at(8)));
        // The earliest of several differences, wherever it comes.
        assert_eq!(oldest(&[(Some(9), None), (Some(3), Some(4)), (None, None)]), Some(at(4)));
    }
}
