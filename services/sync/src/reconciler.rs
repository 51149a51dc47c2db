//! The reconciler: works on the requested run, or on a background pass if no run is requested.
//!
//! It takes no input: it reads which run is current and which buckets that run has not compared.

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
use shared::id::{Ids, RunId, UserId};
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::categories::{recount, undecided};
use crate::context::{Context, Settings};
use crate::error::{StoreError, SyncError};
use crate::round::Round;
use crate::store::listings::Listings;
use crate::store::runs::{self, Current, Run};
use crate::store::{buckets, categories, feed};

/// How often the reconciler looks for a requested run without being nudged.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Compares the two stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reconciler {
    context: Context,
}

impl Reconciler {
    pub fn new(pool: PgPool, client: Client, table: &str, clock: Clock, ids: Ids) -> Self {
        let listings = Listings::new(client, table);
        let settings = Settings::default();
        Self { context: Context { pool, listings, clock, ids, queue: None, settings } }
    }

    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.context.settings = settings;
        self
    }

    /// Counts the messages waiting in the projector's queue as in flight. A queue of SQS cannot be
    /// searched; there the grace has to suffice.
    #[must_use]
    pub fn with_queue(mut self, queue: impl Into<Option<Queue>>) -> Self {
        self.context.queue = queue.into();
        self
    }

    /// Requests a run, as the API does.
    pub async fn request(&self, by: UserId, deep: bool) -> Result<RunId, StoreError> {
        let now = self.context.clock.now();
        let id = self.context.ids.next(now);
        runs::request(&self.context.pool, id, by, deep, now).await?;
        Ok(id)
    }

    /// The progress and the findings of a run.
    pub async fn find_run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        runs::find(&self.context.pool, id).await
    }

    /// Works on the current run: all of it if it was requested, a slice of a background pass. No new
    /// bucket is begun after `stop`.
    pub async fn once(&self, stop: &CancellationToken) -> Result<Progress, SyncError> {
        let Some(run) = self.context.in_time(self.current()).await? else {
            return Ok(Progress::Idle);
        };
        Round::new(&self.context, run, stop).work().await?;
        self.context.in_time(self.end(&run)).await
    }

    /// Finishes the run if all of its buckets are done.
    async fn end(&self, run: &Current) -> Result<Progress, StoreError> {
        let done = buckets::are_done(&self.context.pool, run).await?;
        if !done {
            return Ok(Progress::Idle);
        }
        failpoint::reach("sync.walked").await;
        self.recount(run).await?;
        failpoint::reach("sync.recounted").await;
        runs::finish(&self.context.pool, run.id, self.context.clock.now()).await?;
        failpoint::reach("sync.finished").await;
        tracing::info!(run.id = %run.id, "compared all products with their listings");
        Ok(Progress::More)
    }

    /// Reports the age of the oldest comparison of a bucket.
    async fn measure(&self) -> Result<(), SyncError> {
        let oldest = self.context.in_time(buckets::oldest_check(&self.context.pool)).await?;
        if let Some(oldest) = oldest {
            let age = (self.context.clock.now() - oldest).max(TimeDelta::zero());
            metrics::gauge!("vitrina_buckets_oldest_checked_seconds").set(age.as_seconds_f64());
        }
        Ok(())
    }

    /// The run to work on: a requested one, or else a background pass.
    async fn current(&self) -> Result<Option<Current>, StoreError> {
        let now = self.context.clock.now();
        if let Some(run) = runs::current(&self.context.pool, now).await? {
            return Ok(Some(run));
        }
        if self.context.settings.slice == 0 {
            return Ok(None);
        }
        let Context { pool, ids, settings, .. } = &self.context;
        let last_deep = TimeDelta::from_std(settings.deep_every)
            .ok()
            .and_then(|every| now.checked_sub_signed(every))
            .unwrap_or(DateTime::UNIX_EPOCH);
        let deep_if_none = last_deep..=settings.lease_until(now);
        runs::begin_background(pool, ids.next(now), now, deep_if_none).await?;
        failpoint::reach("sync.begun").await;
        runs::current(&self.context.pool, now).await
    }

    /// Adjusts the recorded set of categories to the categories that the run saw.
    async fn recount(&self, run: &Current) -> Result<(), StoreError> {
        let Context { pool, listings, .. } = &self.context;
        let recorded: BTreeSet<String> = categories::read(listings).await?.into_iter().collect();
        let seen = runs::categories(pool, run.id).await?;
        let seen: BTreeSet<String> = seen.into_iter().collect();
        let undecided = undecided(&recorded, &seen);
        if undecided.is_empty() {
            return Ok(());
        }
        let in_use = feed::categories_in_use(pool, &undecided).await?;
        let recount = recount(&recorded, &seen, &in_use.into_iter().collect());
        categories::add(listings, recount.add).await?;
        failpoint::reach("recount.added").await;
        categories::remove(listings, recount.remove.clone()).await?;
        failpoint::reach("recount.removed").await;
        // A product may have been committed in a category just before the category was removed.
        let back = feed::categories_in_use(pool, &recount.remove).await?;
        categories::add(listings, back).await?;
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
        // A requested run is one round, however many products there are.
        let pace = Pace { every: POLL_INTERVAL, limit: None };
        tick::run("reconcile", pace, nudge, stop, || async {
            let worked = self.once(&stopped).await;
            // Also after a failure: the age grows as long as rounds fail.
            let measured = self.measure().await;
            let progress = worked?;
            measured.map(|()| progress)
        })
        .await;
    }

    /// Works on the requested runs, or on a slice of a background pass. The next invocation takes up
    /// what is left at the deadline.
    async fn until(&self, deadline: Instant) -> Result<(), SyncError> {
        let stop = CancellationToken::new();
        // A bucket begun just before then may still wait for its second read.
        let ending = self.context.settings.grace + self.context.settings.max_wait;
        let last = deadline.checked_sub(ending).unwrap_or(deadline);
        // A timer need not fire before the work begins, even if its time has passed.
        if last <= Instant::now() {
            stop.cancel();
        }
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
