//! The reconciler: works on the run that is wanted, and on one in the background where none is.
//!
//! It takes no input: it looks at which run is wanted and which buckets that has not done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta};
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::failpoint;
use shared::host::Work;
use shared::host::tick::{self, Pace, Progress};
use shared::id::Ids;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::categories as rules;
use crate::round::Round;
use crate::store::listings::{Listings, StoreError};
use crate::store::runs::{self, Current, Run};
use crate::store::{buckets, categories, feed};

/// How often runs are looked for when nobody nudges.
const EVERY: Duration = Duration::from_secs(1);

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

/// Compares the two stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reconciler {
    pub(crate) pool: PgPool,
    pub(crate) listings: Listings,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) queue: Option<Queue>,
    pub(crate) settings: Settings,
}

/// A round failed. What it had not done yet still is to be done.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("{doing}")]
    Database { doing: &'static str, source: sqlx::Error },
    #[error("reading or recounting listings")]
    Listings(#[from] StoreError),
    #[error("a store did not answer in {0:?}")]
    Silent(Duration),
}

pub(crate) fn database(doing: &'static str) -> impl Fn(sqlx::Error) -> SyncError {
    move |source| SyncError::Database { doing, source }
}

impl Reconciler {
    pub fn new(pool: PgPool, client: Client, table: &str, clock: Clock, ids: Ids) -> Self {
        Self {
            pool,
            listings: Listings { client, table: table.to_owned() },
            clock,
            ids,
            queue: None,
            settings: Settings::default(),
        }
    }

    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Looks into the projector's queue, where that can be looked into: what waits there is under
    /// way. Elsewhere the grace must do.
    #[must_use]
    pub fn with_queue(mut self, queue: impl Into<Option<Queue>>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Asks for a run, as the API does.
    pub async fn request(&self, by: Uuid, deep: bool) -> Result<Uuid, SyncError> {
        let now = self.clock.now();
        let id = self.ids.next(now);
        runs::request(&self.pool, id, by, deep, now).await.map_err(database("asking for a run"))?;
        Ok(id)
    }

    /// How far a run has come, and what it has found.
    pub async fn find_run(&self, id: Uuid) -> Result<Option<Run>, SyncError> {
        runs::find(&self.pool, id).await.map_err(database("reading a run"))
    }

    /// Works on the current run: all of it if somebody asked for it, a slice if it goes in the
    /// background. After `stop` no bucket is begun any more.
    pub async fn once(&self, stop: &CancellationToken) -> Result<Progress, SyncError> {
        let looking = async { self.current().await.map_err(database("looking for a run")) };
        let Some(run) = self.in_time(looking).await? else {
            return Ok(Progress::Idle);
        };
        Round::new(self, run, stop).work().await?;
        self.in_time(self.end(&run)).await
    }

    /// Waits for the stores, and not for ever.
    pub(crate) async fn in_time<T>(
        &self,
        asking: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<T, SyncError> {
        let lease = self.settings.lease;
        let asked = tokio::time::timeout(lease, asking).await;
        asked.unwrap_or(Err(SyncError::Silent(lease)))
    }

    /// Ends the run if all of its buckets are done.
    async fn end(&self, run: &Current) -> Result<Progress, SyncError> {
        let done = buckets::are_done(&self.pool, run)
            .await
            .map_err(database("counting the buckets that are done"))?;
        if !done {
            return Ok(Progress::Idle);
        }
        failpoint::reach("sync.walked").await;
        self.recount(run).await?;
        failpoint::reach("sync.recounted").await;
        runs::finish(&self.pool, run.id, self.clock.now())
            .await
            .map_err(database("ending a run"))?;
        failpoint::reach("sync.finished").await;
        tracing::info!(run.id = %run.id, "compared all products with their listings");
        Ok(Progress::More)
    }

    /// Measures how long ago the bucket was compared that waits for longest.
    async fn measure(&self) -> Result<(), SyncError> {
        let asking = database("asking when buckets were compared");
        let oldest = async { buckets::oldest_check(&self.pool).await.map_err(asking) };
        if let Some(oldest) = self.in_time(oldest).await? {
            let age = (self.clock.now() - oldest).max(TimeDelta::zero());
            metrics::gauge!("vitrina_buckets_oldest_checked_seconds").set(age.as_seconds_f64());
        }
        Ok(())
    }

    /// The run to work on; without one that was asked for, one in the background.
    async fn current(&self) -> Result<Option<Current>, sqlx::Error> {
        let now = self.clock.now();
        if let Some(run) = runs::current(&self.pool, now).await? {
            return Ok(Some(run));
        }
        if self.settings.slice == 0 {
            return Ok(None);
        }
        let last_deep = TimeDelta::from_std(self.settings.deep_every)
            .ok()
            .and_then(|every| now.checked_sub_signed(every))
            .unwrap_or(DateTime::UNIX_EPOCH);
        runs::begin_background(&self.pool, self.ids.next(now), now, last_deep).await?;
        failpoint::reach("sync.begun").await;
        runs::current(&self.pool, now).await
    }

    /// Brings the set of categories in line with what the run has met.
    async fn recount(&self, run: &Current) -> Result<(), SyncError> {
        let asking = database("asking for the categories in use");
        let noted: BTreeSet<String> = categories::read(&self.listings).await?.into_iter().collect();
        let met = runs::categories(&self.pool, run.id)
            .await
            .map_err(database("reading the categories that were met"))?;
        let met: BTreeSet<String> = met.into_iter().collect();
        let doubtful = rules::doubtful(&noted, &met);
        if doubtful.is_empty() {
            return Ok(());
        }
        let in_use = feed::categories_in_use(&self.pool, &doubtful).await.map_err(&asking)?;
        let recount = rules::recount(&noted, &met, &in_use.into_iter().collect());
        categories::add(&self.listings, recount.add).await?;
        failpoint::reach("recount.added").await;
        categories::remove(&self.listings, recount.remove.clone()).await?;
        failpoint::reach("recount.removed").await;
        let back = feed::categories_in_use(&self.pool, &recount.remove).await.map_err(&asking)?;
        categories::add(&self.listings, back).await?;
        Ok(())
    }
}

impl Work for Reconciler {
    type Error = SyncError;

    fn name(&self) -> &'static str {
        "reconcile"
    }

    /// Reconciles until `stop`, when nudged and every second.
    async fn run(self, nudge: Arc<Notify>, stop: CancellationToken) {
        let stopped = stop.clone();
        // A run that somebody asked for is one round, however many products there are.
        let pace = Pace { every: EVERY, limit: None };
        tick::run("reconcile", pace, nudge, stop, || async {
            let progress = self.once(&stopped).await?;
            self.measure().await?;
            Ok::<_, SyncError>(progress)
        })
        .await;
    }

    /// Works on the runs that are wanted, or a slice of one in the background. What is not done by
    /// the deadline is for the next time.
    async fn until(&self, deadline: Instant) -> Result<(), SyncError> {
        let stop = CancellationToken::new();
        // A bucket that is begun by then may wait for its second look.
        let ending = self.settings.grace + self.settings.patience;
        let last = deadline.checked_sub(ending).unwrap_or(deadline);
        let late = async {
            tokio::time::sleep_until(last.into()).await;
            stop.cancel();
            std::future::pending().await
        };
        let work = async {
            while !stop.is_cancelled() && self.once(&stop).await? == Progress::More {}
            Ok(())
        };
        let worked = tokio::select! {
            worked = work => worked,
            never = late => never,
        };
        let measured = self.measure().await;
        worked.and(measured)
    }
}
