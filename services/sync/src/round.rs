//! A round: compares buckets of a run, reads candidates twice, and requests repairs.
//!
//! Buckets are leased, so several rounds may run at once, and another round continues the work of a
//! crashed one. The findings of a bucket, its repairs and its progress in the run are one
//! transaction.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use shared::contract::event_type::{EventType, Parts};
use shared::contract::listing::key_of;
use shared::contract::sync_feed::BUCKETS;
use shared::failpoint;
use shared::id::{LeaseId, ProductId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::comparison::{Difference, Merge, Verdict, compare, confirm};
use crate::context::Context;
use crate::error::{StoreError, SyncError};
use crate::findings::Findings;
use crate::store::buckets::{self, Claimed};
use crate::store::feed;
use crate::store::runs::{self, Current};

/// The most candidates that wait for their second read at once, which bounds memory. The limit is on
/// candidates and not on buckets: with a few candidates in each bucket, a limit on buckets would stop
/// the whole round for the grace.
const MAX_CANDIDATES: u32 = 20_000;

/// One round of one worker.
#[derive(Debug)]
pub(crate) struct Round {
    context: Context,
    run: Current,
    lease: LeaseId,
    concurrency: usize,
    /// Limits how many buckets are read again or released at once.
    second_reads: Semaphore,
    /// Limits the waiting candidates.
    candidates: Arc<Semaphore>,
    stop: CancellationToken,
    failed: AtomicBool,
}

/// A round and the buckets that it has claimed but not begun.
type Backlog = (Arc<Round>, VecDeque<Claimed>);

/// A bucket after its first read.
#[derive(Debug)]
struct BucketRead {
    claimed: Claimed,
    findings: Findings,
    half_read_units: i64,
    candidates: Vec<Difference>,
    categories: BTreeSet<String>,
    /// The product to resume after, if there were too many candidates at once.
    resume_after: Option<ProductId>,
    /// When the candidates may be read again.
    due: Instant,
}

/// A bucket waiting for its second read, with the permit for its candidates.
type Waiting = (BucketRead, Option<OwnedSemaphorePermit>);

impl Round {
    pub(crate) fn new(context: &Context, run: Current, stop: &CancellationToken) -> Self {
        let concurrency = if run.is_background { 1 } else { context.settings.concurrency.max(1) };
        Self {
            context: context.clone(),
            run,
            lease: context.ids.next(context.clock.now()),
            concurrency,
            second_reads: Semaphore::new(concurrency),
            candidates: Arc::new(Semaphore::new(
                usize::try_from(MAX_CANDIDATES).unwrap_or(usize::MAX),
            )),
            stop: stop.clone(),
            failed: AtomicBool::new(false),
        }
    }

    /// Compares buckets until none is left for this round. Some are read for the first time while others
    /// wait for their second read, so that the round does not stop for the grace.
    pub(crate) async fn work(self) -> Result<(), SyncError> {
        let concurrency = self.concurrency;
        let round = Arc::new(self);
        let (first, second) = (Arc::clone(&round), Arc::clone(&round));
        stream::unfold((round, VecDeque::new()), Self::next)
            .map(move |claimed| {
                let round = Arc::clone(&first);
                async move { round.read_and_wait(claimed?).await }
            })
            .buffer_unordered(concurrency)
            .map(move |waiting| {
                let round = Arc::clone(&second);
                async move { round.finish(waiting).await }
            })
            .buffer_unordered(usize::from(BUCKETS))
            .fold(Ok(()), |so_far: Result<(), SyncError>, result| {
                std::future::ready(so_far.and(result))
            })
            .await
    }

    /// The next bucket; buckets are claimed a few at a time.
    async fn next((round, mut claimed): Backlog) -> Option<(Result<Claimed, SyncError>, Backlog)> {
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
        let Context { pool, clock, settings, .. } = &self.context;
        let now = clock.now();
        let until = settings.lease_until(now);
        let mut limit = i64::try_from(self.concurrency * 2).unwrap_or(i64::MAX);
        if self.run.is_background {
            let recent = buckets::count_recent(pool, settings.pause, now, until).await?;
            limit = limit.min(i64::from(settings.slice) - recent);
        }
        if limit <= 0 {
            return Ok(VecDeque::new());
        }
        let claimed = buckets::claim(pool, &self.run, self.lease, limit, now, until).await;
        failpoint::reach("sync.claimed").await;
        claimed.map(VecDeque::from)
    }

    /// Reads a bucket for the first time and waits for permits for its candidates.
    async fn read_and_wait(&self, claimed: Claimed) -> Result<Waiting, SyncError> {
        let read = self.context.in_time(self.read_first(claimed)).await?;
        let count =
            u32::try_from(read.candidates.len()).map_or(MAX_CANDIDATES, |n| n.min(MAX_CANDIDATES));
        let permit = Arc::clone(&self.candidates).acquire_many_owned(count).await.ok();
        Ok((read, permit))
    }

    /// Reads both sides of a bucket and compares them product by product.
    async fn read_first(&self, claimed: Claimed) -> Result<BucketRead, StoreError> {
        let Context { pool, listings, clock, settings, .. } = &self.context;
        let now = clock.now();
        let (mut merge, mut findings) = (Merge::default(), Findings::default());
        let mut half_read_units = 0;
        let (mut candidates, mut categories) = (Vec::new(), BTreeSet::new());
        let mut last_row = claimed.resume_after.unwrap_or_default();
        let mut listings_start = claimed.resume_after.map(key_of);
        let mut resume_after = None;
        let page = settings.page.max(1);
        loop {
            if merge.needs_rows() || merge.needs_listed() {
                let rows = async {
                    if !merge.needs_rows() {
                        return Ok(None);
                    }
                    feed::page(pool, claimed.bucket, last_row, i64::from(page)).await.map(Some)
                };
                let listed = async {
                    if !merge.needs_listed() {
                        return Ok(None);
                    }
                    let start = listings_start.take();
                    listings
                        .page(claimed.bucket, start, i32::from(page), self.run.deep)
                        .await
                        .map(Some)
                };
                let (rows, listed) = tokio::try_join!(rows, listed)?;
                if let Some(rows) = rows {
                    last_row = rows.last().map_or(last_row, |last| last.id);
                    let ended = rows.len() < usize::from(page);
                    merge.push_rows(rows, ended);
                }
                if let Some(listed) = listed {
                    half_read_units += listed.half_units;
                    let ended = listed.next.is_none();
                    listings_start = listed.next;
                    merge.push_listed(listed.listed, ended);
                }
                continue;
            }
            let Some((row, listed)) = merge.next_pair() else {
                break;
            };
            findings.compared += 1;
            if let Some(category) = listed.as_ref().and_then(|l| l.category.as_ref())
                && !categories.contains(category)
            {
                categories.insert(category.clone());
            }
            if let Some(difference) = compare(row.as_ref(), listed.as_ref(), now) {
                candidates.push(difference);
                // At most a page of candidates: the bucket is resumed after the last one.
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
        Ok(BucketRead {
            claimed,
            findings,
            half_read_units,
            candidates,
            categories,
            resume_after,
            due,
        })
    }

    /// How long the events in flight take to arrive.
    async fn wait(&self, now: DateTime<Utc>) -> Result<Duration, StoreError> {
        let oldest = feed::oldest_pending(&self.context.pool).await?;
        let age = oldest.map_or(Duration::ZERO, |at| (now - at).to_std().unwrap_or_default());
        Ok(self.context.settings.wait_for_events(age))
    }

    async fn finish(&self, waiting: Result<Waiting, SyncError>) -> Result<(), SyncError> {
        let result = match waiting {
            Ok((read, _permit)) => self.read_again(read).await,
            Err(error) => Err(error),
        };
        // A bucket that failed keeps its lease, so that the next round begins with others.
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    async fn read_again(&self, mut read: BucketRead) -> Result<(), SyncError> {
        tokio::time::sleep_until(read.due).await;
        // Many buckets wait and few work: other users of the pool need connections, too.
        let _permit = self.second_reads.acquire().await.ok();
        self.context.in_time(self.conclude(&mut read)).await
    }

    /// Confirms the candidates by a second read, and releases the bucket with the findings.
    async fn conclude(&self, read: &mut BucketRead) -> Result<(), StoreError> {
        let confirmed =
            if read.candidates.is_empty() { Vec::new() } else { self.confirm(read).await? };
        for difference in &confirmed {
            read.findings.count(difference, read.claimed.checked_at);
        }
        failpoint::reach("sync.looked").await;
        let bucket = read.claimed.bucket;
        if self.release(read, &confirmed).await? {
            let Findings { compared, repaired, .. } = read.findings;
            let differences = read.findings.differences();
            if differences > 0 {
                tracing::warn!(bucket, differences, repaired, "listings differed from products");
            }
            metrics::counter!("vitrina_sync_compared_total")
                .increment(u64::try_from(compared).unwrap_or(0));
            metrics::counter!("vitrina_sync_differences_total")
                .increment(u64::try_from(differences).unwrap_or(0));
            metrics::counter!("vitrina_sync_repaired_total")
                .increment(u64::try_from(repaired).unwrap_or(0));
        } else {
            tracing::warn!(bucket, "a lease ended before its bucket was done");
        }
        Ok(())
    }

    /// Tells differences from events in flight. Reads the events in flight first, then the listings,
    /// strongly consistent, then the products: in this order, one of the three shows an event that
    /// arrives in the meantime.
    async fn confirm(&self, read: &mut BucketRead) -> Result<Vec<Difference>, StoreError> {
        let ids: Vec<ProductId> = read.candidates.iter().map(|candidate| candidate.id).collect();
        let in_flight = self.in_flight(&ids).await?;
        failpoint::reach("sync.events_read").await;
        let (listed, half_units) = self.context.listings.read(&ids, self.run.deep).await?;
        failpoint::reach("sync.listings_read").await;
        read.half_read_units += half_units;
        // After the listings: every position that they have recorded was allocated before this read.
        let last_position = feed::last_position(&self.context.pool).await?;
        let rows = feed::read(&self.context.pool, &ids).await?;
        let rows: HashMap<ProductId, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        let now = self.context.clock.now();
        let mut confirmed = Vec::new();
        for candidate in &read.candidates {
            let id = candidate.id;
            let again = compare(rows.get(&id), listed.get(&id), now);
            let moving = in_flight.get(&id).copied().unwrap_or_default();
            match confirm(candidate, again.as_ref(), moving) {
                Verdict::Agrees => {}
                Verdict::Moving => read.findings.moving += 1,
                Verdict::Differs(difference) => {
                    tracing::debug!(
                        product.id = %id, kind = ?difference.kind(),
                        "a listing differs from its product"
                    );
                    let recorded = listed.get(&id).map_or(0, |listing| listing.position);
                    let is_unallocated = recorded > last_position;
                    confirmed.push(if is_unallocated {
                        difference.requiring_new_version()
                    } else {
                        difference
                    });
                }
            }
        }
        Ok(confirmed)
    }

    /// The parts of products with events in flight. Reads the outbox before the queue: the relay adds an
    /// event to the queue before it deletes it from the outbox, so one of the two has it.
    async fn in_flight(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Parts>, StoreError> {
        let mut parts: HashMap<ProductId, Parts> = HashMap::new();
        for (id, part) in feed::pending(&self.context.pool, ids).await? {
            let entry = parts.entry(id).or_default();
            match part.as_str() {
                "stock" => entry.stock = true,
                _ => entry.product = true,
            }
        }
        failpoint::reach("sync.outbox_read").await;
        if let Some(queue) = &self.context.queue {
            let subjects: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
            let waiting = queue
                .waiting_among(&subjects)
                .await
                .map_err(StoreError::postgres("reading waiting messages of bus.messages"))?;
            for (id, event_type) in waiting {
                // An event of a newer build may change any part.
                let changed = event_type.parse().map_or(Parts::ALL, EventType::parts);
                let entry = parts.entry(ProductId::from_uuid(id)).or_default();
                entry.stock |= changed.stock;
                entry.product |= changed.product;
            }
        }
        Ok(parts)
    }

    /// Requests the repairs, adds the findings to the run and releases the bucket, in one transaction.
    /// Does nothing if the lease has ended; returns whether it still held.
    async fn release(
        &self,
        read: &mut BucketRead,
        confirmed: &[Difference],
    ) -> Result<bool, StoreError> {
        let BucketRead { claimed, findings, half_read_units, categories, resume_after, .. } = read;
        let (bucket, resume_after) = (claimed.bucket, *resume_after);
        let now = self.context.clock.now();
        let mut transaction = buckets::begin_release(&self.context.pool).await?;
        if !buckets::release(&mut transaction, bucket, self.lease, resume_after, now).await? {
            return Ok(false);
        }
        if !confirmed.is_empty() {
            findings.repaired = feed::republish(&mut transaction, confirmed, now).await?;
            failpoint::reach("sync.republished").await;
        }
        let done = resume_after.is_none();
        let categories: Vec<String> = std::mem::take(categories).into_iter().collect();
        runs::add(&mut transaction, self.run.id, findings, *half_read_units, &categories, done)
            .await?;
        failpoint::reach("sync.added").await;
        let committing = StoreError::postgres(format!("committing bucket {bucket}"));
        transaction.commit().await.map_err(committing)?;
        failpoint::reach("sync.committed").await;
        Ok(true)
    }
}
