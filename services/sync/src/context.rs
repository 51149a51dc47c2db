//! What a reconciliation works with: the stores, the clock and the pace.

use std::time::Duration;

use shared::bus::queue::Queue;
use shared::clock::Clock;
use shared::id::Ids;
use sqlx::PgPool;

use crate::error::SyncError;
use crate::store::listings::Listings;

/// How fast, and how patient.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The least time between the two looks: what an event takes to its listing at worst on a good
    /// day.
    pub grace: Duration,
    /// How many products are read at once from each side: about as many listings as DynamoDB gives
    /// at once.
    pub page: u16,
    /// Buckets that are walked at once in a run that somebody asked for.
    pub concurrency: usize,
    /// Buckets that the pass in the background does in every `pause`, however many workers there
    /// are: so few that nobody feels it.
    pub slice: u16,
    pub pause: Duration,
    /// How often a pass in the background is a deep one, which hashes whole listings again: it costs no
    /// more read units, but several times the work.
    pub deep_every: Duration,
    /// The longest wait for what is under way. What takes longer is left for the next pass.
    pub patience: Duration,
    /// For how long a bucket belongs to the round that claimed it, many times what one takes; and how
    /// long a round waits for an answer of the stores at most. A connection that has gone silent, and
    /// says nothing even of its end, would hold up everything otherwise.
    pub lease: Duration,
}

impl Default for Settings {
    /// Two seconds of grace and ten of patience; in the background eight buckets a minute, so all of
    /// them in about two hours.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(2),
            page: 1_200,
            concurrency: 4,
            slice: 8,
            pause: Duration::from_mins(1),
            deep_every: Duration::from_hours(24),
            patience: Duration::from_secs(10),
            lease: Duration::from_mins(1),
        }
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
    /// Waits for the stores, and not for ever.
    pub(crate) async fn in_time<T, E: Into<SyncError>>(
        &self,
        asking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SyncError> {
        let lease = self.settings.lease;
        match tokio::time::timeout(lease, asking).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(SyncError::Silent(lease)),
        }
    }
}
