//! The dependencies of a reconciliation: the stores, the clock and the pace.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::id::Ids;
use sqlx::PgPool;

use crate::error::SyncError;
use crate::store::listings::Listings;

/// The pace of a reconciliation, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The minimum time between the two reads of a candidate: the longest that an event takes to reach
    /// its listing in normal operation.
    pub grace: Duration,
    /// Products read at once from each store: about as many listings as one DynamoDB response holds.
    pub page: u16,
    /// Buckets compared at once in a requested run.
    pub concurrency: usize,
    /// Buckets that the background pass compares in every `pause`, summed over all workers. Few, so
    /// that requests do not notice the load.
    pub slice: u16,
    pub pause: Duration,
    /// How often a background pass is deep, that is, hashes whole listings again. A deep pass costs no
    /// more read units, but several times the processor time.
    pub deep_every: Duration,
    /// The longest wait for events in flight. Candidates that take longer are left for the next pass.
    pub max_wait: Duration,
    /// How long a claimed bucket belongs to its round, many times what comparing it takes; also the
    /// longest wait for one response of the stores, because a connection that silently died would
    /// otherwise block the round for ever.
    pub lease: Duration,
}

impl Default for Settings {
    /// A grace of two seconds and at most ten; eight buckets a minute in the background, so a pass
    /// takes about two hours.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(2),
            page: 1_200,
            concurrency: 4,
            slice: 8,
            pause: Duration::from_mins(1),
            deep_every: Duration::from_hours(24),
            max_wait: Duration::from_secs(10),
            lease: Duration::from_mins(1),
        }
    }
}

impl Settings {
    /// How long to wait before the second read, if the oldest event in flight has this age.
    pub(crate) fn wait_for_events(&self, age: Duration) -> Duration {
        age.min(self.max_wait).max(self.grace)
    }

    /// When a lease ends that begins now. The clock of another worker may be ahead, but not by as much.
    pub(crate) fn lease_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let lease = TimeDelta::from_std(self.lease).unwrap_or(TimeDelta::MAX);
        now.checked_add_signed(lease).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// The stores, the clock and the pace of a reconciliation. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) pool: PgPool,
    pub(crate) listings: Listings,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) queue: Option<Queue>,
    pub(crate) settings: Settings,
}

impl Context {
    /// Waits for a response of the stores, but no longer than a lease lasts.
    pub(crate) async fn in_time<T, E: Into<SyncError>>(
        &self,
        asking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SyncError> {
        let lease = self.settings.lease;
        match tokio::time::timeout(lease, asking).await {
            Ok(response) => response.map_err(Into::into),
            Err(_) => Err(SyncError::Silent(lease)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_for_events_is_their_age_between_two_and_ten_seconds() {
        let settings = Settings::default();
        let wait = |millis| settings.wait_for_events(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 1, 2_000, 2_001].map(wait), [2_000, 2_000, 2_000, 2_001]);
        assert_eq!([9_999, 10_000, 10_001, 86_400_000].map(wait), [9_999, 10_000, 10_000, 10_000]);
    }
}
