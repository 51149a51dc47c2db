//! What a pass leaves behind: sums that grow bucket by bucket.

use chrono::{DateTime, Utc};

use crate::comparison::{Difference, Kind};

/// What was found in some buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Products that are on either side.
    pub(crate) compared: i64,
    pub(crate) missing: i64,
    pub(crate) stale: i64,
    pub(crate) ahead: i64,
    pub(crate) extra: i64,
    pub(crate) altered: i64,
    pub(crate) stock: i64,
    /// Candidates that are left for the next pass.
    pub(crate) moving: i64,
    pub(crate) repaired: i64,
    pub(crate) oldest_divergence: Option<DateTime<Utc>>,
    pub(crate) half_read_units: i64,
}

impl Report {
    /// Counts a difference. It is younger than the last time that its bucket was found right.
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

    /// Everything that was found to differ.
    pub(crate) fn differences(&self) -> i64 {
        self.missing + self.stale + self.ahead + self.extra + self.altered + self.stock
    }
}
