//! A round: walks buckets of a run, looks twice, and asks for repairs.
//!
//! A bucket is leased, so several rounds may go on at once, and what one leaves behind when it dies
//! is taken up by another. What a bucket showed, its repairs and its place in the run are one
//! transaction.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use shared::contract::listing::key_of;
use shared::contract::sync_feed::BUCKETS;
use shared::failpoint;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::comparison::{Difference, Merge, UnderWay, Verdict, compare, confirm};
use crate::context::Context;
use crate::error::{StoreError, SyncError};
use crate::report::Report;
use crate::store::buckets::{self, Claimed};
use crate::store::feed;
use crate::store::runs::{self, Current};

/// Candidates that wait for their second look at once: what bounds memory. Buckets that wait are
/// not counted, or a few candidates in each would make everything stand still for the grace.
const WAITING: u32 = 20_000;

/// One round of one worker.
#[derive(Debug)]
pub(crate) struct Round {
    context: Context,
    run: Current,
    lease: Uuid,
    concurrency: usize,
    /// Buckets that may be looked at again, or given back, at once.
    turns: Semaphore,
    /// Room for candidates that wait.
    room: Arc<Semaphore>,
    stop: CancellationToken,
    failed: AtomicBool,
}

/// A round and the buckets that it has claimed and not begun.
type Place = (Arc<Round>, VecDeque<Claimed>);

/// What the first look at a bucket showed.
#[derive(Debug)]
struct Looked {
    claimed: Claimed,
    report: Report,
    candidates: Vec<Difference>,
    categories: BTreeSet<String>,
    /// Where the bucket goes on, if there were too many candidates at once.
    resume_after: Option<Uuid>,
    /// When the candidates may be looked at again.
    due: Instant,
}

/// What waits for its second look, and the room that it takes up meanwhile.
type Waiting = (Looked, Option<OwnedSemaphorePermit>);

impl Round {
    pub(crate) fn new(context: &Context, run: Current, stop: &CancellationToken) -> Self {
        let concurrency = if run.is_background { 1 } else { context.settings.concurrency.max(1) };
        Self {
            context: context.clone(),
            run,
            lease: context.ids.next(context.clock.now()),
            concurrency,
            turns: Semaphore::new(concurrency),
            room: Arc::new(Semaphore::new(usize::try_from(WAITING).unwrap_or(usize::MAX))),
            stop: stop.clone(),
            failed: AtomicBool::new(false),
        }
    }

    /// Takes buckets as long as there are any for this round. Some are walked while others wait
    /// for their second look, so that nothing stands still for the grace.
    pub(crate) async fn work(self) -> Result<(), SyncError> {
        let concurrency = self.concurrency;
        let round = Arc::new(self);
        let (looking, settling) = (Arc::clone(&round), Arc::clone(&round));
        stream::unfold((round, VecDeque::new()), Self::next)
            .map(move |claimed| {
                let round = Arc::clone(&looking);
                async move { round.look(claimed?).await }
            })
            .buffer_unordered(concurrency)
            .map(move |waiting| {
                let round = Arc::clone(&settling);
                async move { round.finish(waiting).await }
            })
            .buffer_unordered(usize::from(BUCKETS))
            .fold(Ok(()), |so_far: Result<(), SyncError>, result| {
                std::future::ready(so_far.and(result))
            })
            .await
    }

    /// The next bucket, claimed with a few others at once.
    async fn next((round, mut claimed): Place) -> Option<(Result<Claimed, SyncError>, Place)> {
        if round.stop.is_cancelled() || round.failed.load(Ordering::Relaxed) {
            return None;
        }
        if claimed.is_empty() {
            match round.context.in_time(round.claim()).await {
                Ok(more) => claimed = more,
                Err(error) => return Some((Err(error), (round, claimed))),
            }
        }
        let next = claimed.pop_front()?;
        Some((Ok(next), (round, claimed)))
    }

    async fn claim(&self) -> Result<VecDeque<Claimed>, StoreError> {
        let now = self.context.clock.now();
        let mut limit = i64::try_from(self.concurrency * 2).unwrap_or(i64::MAX);
        if self.run.is_background {
            let recent =
                buckets::count_recent(&self.context.pool, now - self.context.settings.pause, now)
                    .await?;
            limit = limit.min(i64::from(self.context.settings.slice) - recent);
        }
        if limit <= 0 {
            return Ok(VecDeque::new());
        }
        let pool = &self.context.pool;
        let lease = TimeDelta::from_std(self.context.settings.lease).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(lease).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let claimed = buckets::claim(pool, &self.run, self.lease, limit, now, until).await;
        failpoint::reach("sync.claimed").await;
        claimed.map(VecDeque::from)
    }

    /// The first look, and a place among those that wait for the second.
    async fn look(&self, claimed: Claimed) -> Result<Waiting, SyncError> {
        let looked = self.context.in_time(self.walk(claimed)).await?;
        let room = u32::try_from(looked.candidates.len()).map_or(WAITING, |n| n.min(WAITING));
        let room = Arc::clone(&self.room).acquire_many_owned(room).await.ok();
        Ok((looked, room))
    }

    /// Walks both sides of a bucket together.
    async fn walk(&self, claimed: Claimed) -> Result<Looked, StoreError> {
        let this = &self.context;
        let now = this.clock.now();
        let (mut merge, mut report) = (Merge::default(), Report::default());
        let (mut candidates, mut categories) = (Vec::new(), BTreeSet::new());
        let mut row_place = claimed.resume_after.unwrap_or_default();
        let mut listed_place = claimed.resume_after.map(key_of);
        let mut resume_after = None;
        let page = this.settings.page.max(1);
        loop {
            if merge.needs_rows() || merge.needs_listed() {
                let rows = async {
                    if !merge.needs_rows() {
                        return Ok(None);
                    }
                    feed::page(&this.pool, claimed.bucket, row_place, i64::from(page))
                        .await
                        .map(Some)
                };
                let listed = async {
                    if !merge.needs_listed() {
                        return Ok(None);
                    }
                    let start = listed_place.take();
                    this.listings
                        .page(claimed.bucket, start, i32::from(page), self.run.deep)
                        .await
                        .map(Some)
                };
                let (rows, listed) = tokio::try_join!(rows, listed)?;
                if let Some(rows) = rows {
                    row_place = rows.last().map_or(row_place, |last| last.id);
                    let ended = rows.len() < usize::from(page);
                    merge.push_rows(rows, ended);
                }
                if let Some(listed) = listed {
                    report.half_read_units += listed.half_units;
                    let ended = listed.next.is_none();
                    listed_place = listed.next;
                    merge.push_listed(listed.listed, ended);
                }
                continue;
            }
            let Some((row, listed)) = merge.next_pair() else {
                break;
            };
            report.compared += 1;
            if let Some(category) = listed.as_ref().and_then(|l| l.category.as_ref())
                && !categories.contains(category)
            {
                categories.insert(category.clone());
            }
            if let Some(difference) = compare(row.as_ref(), listed.as_ref(), now) {
                candidates.push(difference);
                // No more than a page of them: the bucket goes on behind it.
                if candidates.len() >= usize::from(page) {
                    resume_after = Some(difference.id);
                    break;
                }
            }
        }
        let due = if candidates.is_empty() {
            Instant::now()
        } else {
            Instant::now() + self.wait(now).await?
        };
        Ok(Looked { claimed, report, candidates, categories, resume_after, due })
    }

    /// How long what is under way takes to arrive.
    async fn wait(&self, now: DateTime<Utc>) -> Result<Duration, StoreError> {
        let oldest = feed::oldest_pending(&self.context.pool).await?;
        let age = oldest.map_or(Duration::ZERO, |at| (now - at).to_std().unwrap_or_default());
        let settings = &self.context.settings;
        Ok(age.min(settings.patience).max(settings.grace))
    }

    async fn finish(&self, waiting: Result<Waiting, SyncError>) -> Result<(), SyncError> {
        let result = match waiting {
            Ok((looked, _room)) => self.settle(looked).await,
            Err(error) => Err(error),
        };
        // A bucket that failed keeps its lease, so that others go first in the next round.
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    async fn settle(&self, looked: Looked) -> Result<(), SyncError> {
        tokio::time::sleep_until(looked.due).await;
        // Many wait, few work: other users of the pool need connections too.
        let _turn = self.turns.acquire().await.ok();
        self.context.in_time(self.conclude(looked)).await
    }

    /// The second look, and what follows from it.
    async fn conclude(&self, looked: Looked) -> Result<(), StoreError> {
        let Looked { claimed, mut report, candidates, categories, resume_after, .. } = looked;
        let confirmed = if candidates.is_empty() {
            Vec::new()
        } else {
            self.look_again(&candidates, &mut report).await?
        };
        for difference in &confirmed {
            report.count(difference, claimed.checked_at);
        }
        let categories: Vec<String> = categories.into_iter().collect();
        let bucket = claimed.bucket;
        failpoint::reach("sync.looked").await;
        let given_back =
            self.give_back(bucket, resume_after, &confirmed, &mut report, &categories).await?;
        if given_back {
            if report.differences() > 0 {
                let (differences, repaired) = (report.differences(), report.repaired);
                tracing::warn!(bucket, differences, repaired, "listings differed from products");
            }
            metrics::counter!("vitrina_sync_compared_total")
                .increment(u64::try_from(report.compared).unwrap_or(0));
            metrics::counter!("vitrina_sync_differences_total")
                .increment(u64::try_from(report.differences()).unwrap_or(0));
            metrics::counter!("vitrina_sync_repaired_total")
                .increment(u64::try_from(report.repaired).unwrap_or(0));
        } else {
            tracing::warn!(bucket, "a lease ended before its bucket was done");
        }
        Ok(())
    }

    /// Tells what differs from what is only under way: first what is under way, then the listings,
    /// strongly consistent, then the products. In this order, an event that arrives meanwhile is
    /// seen by one of the three.
    async fn look_again(
        &self,
        candidates: &[Difference],
        report: &mut Report,
    ) -> Result<Vec<Difference>, StoreError> {
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.id).collect();
        let under_way = self.under_way(&ids).await?;
        let (listed, half_units) = self.context.listings.read(&ids, self.run.deep).await?;
        report.half_read_units += half_units;
        // After the listings: positions that they have seen were given out before.
        let last_position = feed::last_position(&self.context.pool).await?;
        let rows = feed::read(&self.context.pool, &ids).await?;
        let rows: HashMap<Uuid, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        let now = self.context.clock.now();
        let mut confirmed = Vec::new();
        for candidate in candidates {
            let id = candidate.id;
            let again = compare(rows.get(&id), listed.get(&id), now);
            let moves = under_way.get(&id).copied().unwrap_or_default();
            match confirm(candidate, again.as_ref(), moves) {
                Verdict::Agrees => {}
                Verdict::Moves => report.moving += 1,
                Verdict::Differs(difference) => {
                    tracing::debug!(
                        product.id = %id, kind = ?difference.kind(),
                        "a listing differs from its product"
                    );
                    let seen = listed.get(&id).map_or(0, |listing| listing.position);
                    let beyond = seen > last_position;
                    confirmed.push(if beyond { difference.out_of_reach() } else { difference });
                }
            }
        }
        Ok(confirmed)
    }

    /// What waits to be published, then what waits to be projected: an event is put into the queue
    /// before it leaves the outbox, so it is in one of the two.
    async fn under_way(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, UnderWay>, StoreError> {
        let mut parts: HashMap<Uuid, UnderWay> = HashMap::new();
        for (id, part) in feed::pending(&self.context.pool, ids).await? {
            let entry = parts.entry(id).or_default();
            match part.as_str() {
                "stock" => entry.stock = true,
                _ => entry.product = true,
            }
        }
        if let Some(queue) = &self.context.queue {
            for (id, event_type) in queue
                .waiting_among(ids)
                .await
                .map_err(StoreError::postgres("reading waiting messages of bus.messages"))?
            {
                let entry = parts.entry(id).or_default();
                entry.stock |= ["StockChanged", "ProductCreated"].contains(&event_type.as_str());
                entry.product |= event_type != "StockChanged";
            }
        }
        Ok(parts)
    }

    /// Asks for the repairs, adds what was found to the run, and gives the bucket back: all of it,
    /// or nothing if the bucket is not ours any more.
    async fn give_back(
        &self,
        bucket: i32,
        resume_after: Option<Uuid>,
        confirmed: &[Difference],
        report: &mut Report,
        categories: &[String],
    ) -> Result<bool, StoreError> {
        let now = self.context.clock.now();
        let mut transaction = buckets::begin(&self.context.pool).await?;
        if !buckets::give_back(&mut transaction, bucket, self.lease, resume_after, now).await? {
            return Ok(false);
        }
        if !confirmed.is_empty() {
            report.repaired = feed::republish(&mut transaction, confirmed, now).await?;
            failpoint::reach("sync.republished").await;
        }
        let done = resume_after.is_none();
        runs::add(&mut transaction, self.run.id, report, categories, done).await?;
        failpoint::reach("sync.added").await;
        let committing = StoreError::postgres(format!("committing bucket {bucket}"));
        transaction.commit().await.map_err(committing)?;
        failpoint::reach("sync.committed").await;
        Ok(true)
    }
}
