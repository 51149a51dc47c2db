//! The wait between the two reads of a candidate, and the timeout of the stores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::contract::sync_feed::bucket_of;
use shared::host::Work as _;
use shared::id::{ProductId, RunId};
use sync::{Reconciler, Settings, State};
use testkit::{Calls, counted_dynamodb, eventually, set_back, skip, skip_until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, settings};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Begins a requested run in which one bucket has a candidate: the listing that `bed` lacks.
async fn begin(
    bed: &TestBed,
    products: &[ProductId],
    settings: Settings,
) -> (RunId, Calls, JoinHandle<()>) {
    let calls = Calls::default();
    let client = counted_dynamodb(&bed.client, &calls);
    let (pool, clock, ids) = (bed.database.pool.clone(), bed.clock.clone(), bed.ids.clone());
    // Skipped time must not count as time that a store took.
    let settings = Settings { lease: 100 * HOUR, ..settings };
    let reconciler = Reconciler::new(pool, client, TABLE, clock, ids).with_settings(settings);
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    let buckets: Vec<i32> = products.iter().map(|id| bucket_of(*id).into()).collect();
    bed.leave_only(id, &buckets).await;
    let round = tokio::spawn(async move {
        reconciler.once(&CancellationToken::new()).await.unwrap();
    });
    // Only the bucket with the candidate is left.
    eventually("the other buckets", async || (done(bed, id).await == 1023).then_some(())).await;
    (id, calls, round)
}

/// Skips the rest of the wait. The candidate may have been read a moment later than the others.
async fn end(round: JoinHandle<()>) {
    skip_until("the second read", MINUTE, async || round.is_finished()).await;
    round.await.unwrap();
}

async fn done(bed: &TestBed, id: RunId) -> i32 {
    bed.run(id).await.progress.buckets_done
}

fn second_reads(calls: &Calls) -> u64 {
    calls.take().get("BatchGetItem").map_or(0, |usage| usage.calls)
}

#[tokio::test]
async fn candidate_is_read_again_when_its_grace_is_over() {
    let (bed, ids) = TestBed::with_products(3).await;
    let listing = bed.listing(ids[0]).await.unwrap();
    bed.remove(ids[0]).await;
    let (id, calls, round) = begin(&bed, &ids, Settings { grace: HOUR, ..settings() }).await;
    skip(Duration::from_mins(59)).await;
    assert_eq!((done(&bed, id).await, second_reads(&calls)), (1023, 0), "before the grace is over");
    // The event arrives just in time, so there is nothing to repair.
    bed.put(listing).await;
    end(round).await;
    let run = bed.run(id).await;
    assert_eq!((run.state, run.findings.differences()), (State::Finished, 0));
    assert_eq!(second_reads(&calls), 1);
}

#[tokio::test]
async fn old_event_in_flight_extends_the_wait_to_its_maximum() {
    let (bed, ids) = TestBed::with_products(3).await;
    bed.change(ids[0], serde_json::json!({"name": "Newer shoe"})).await;
    // Its relay has been down for a day.
    bed.clock.advance(24 * HOUR);
    let (id, calls, round) = begin(&bed, &ids, Settings { max_wait: HOUR, ..settings() }).await;
    skip(Duration::from_mins(59)).await;
    assert_eq!((done(&bed, id).await, second_reads(&calls)), (1023, 0), "before the longest wait");
    end(round).await;
    let run = bed.run(id).await;
    assert_eq!((run.state, run.findings.moving), (State::Finished, 1));
}

#[tokio::test]
async fn running_reconciler_needs_no_nudge() {
    let (bed, _) = TestBed::with_products(2).await;
    let reconciler = bed.reconciler.clone().with_settings(Settings { slice: 0, ..settings() });
    let stop = CancellationToken::new();
    let running = tokio::spawn(reconciler.run(Arc::default(), stop.clone()));
    for _ in 0..2 {
        let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
        bed.leave_only(id, &[7]).await;
        eventually("the run", async || bed.run(id).await.finished_at).await;
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn run_is_compared_and_measured_when_the_clock_is_set_back() {
    let (bed, ids) = TestBed::with_products(3).await;
    let buckets: Vec<i32> = ids.iter().map(|id| bucket_of(*id).into()).collect();
    let run = async || {
        let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
        bed.leave_only(id, &buckets).await;
        // Real time: the limit ends a hang.
        bed.reconciler.until(Instant::now() + HOUR).await.unwrap();
        bed.run(id).await
    };
    run().await;
    bed.change(ids[0], serde_json::json!({"name": "Newer shoe"})).await;
    set_back(&bed.clock, 24 * HOUR);
    // The age of the event in flight is negative: it is no reason to wait, nor for ever.
    let (_, calls, round) = begin(&bed, &ids, Settings { grace: MINUTE, ..settings() }).await;
    end(round).await;
    assert_eq!(second_reads(&calls), 1);
    bed.remove(ids[1]).await;
    let compared = run().await;
    assert_eq!((compared.state, compared.findings.missing), (State::Finished, 1));
}

#[tokio::test]
async fn invocation_begins_no_bucket_that_would_end_too_late() {
    let (bed, _) = TestBed::with_products(1).await;
    let pace = Settings { grace: HOUR, max_wait: 2 * HOUR, ..settings() };
    let reconciler = bed.reconciler.clone().with_settings(pace);
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    // No product is in them, so that nothing waits.
    bed.leave_only(id, &[7, 8]).await;
    // A bucket with a candidate may wait for its events, and then for the grace.
    for (left, expected) in [(HOUR, 1022), (179 * MINUTE, 1022), (4 * HOUR, 1024)] {
        // Real time: the deadline is later than any wait of this test.
        reconciler.until(Instant::now() + left).await.unwrap();
        assert_eq!(done(&bed, id).await, expected, "{left:?} before the deadline");
    }
    assert_eq!(bed.run(id).await.state, State::Finished);
}
