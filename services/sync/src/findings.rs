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
