//! The wait between the two reads of a candidate, and the timeout of the stores.

use std::sync::Arc;
use std::time::Duration;

use shared::host::Work as _;
use shared::id::RunId;
use sync::{Reconciler, Settings, State};
use testkit::{Calls, counted_dynamodb, eventually, skip};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, settings};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Begins a requested run in which one bucket has a candidate: the listing that `bed` lacks.
async fn begin(bed: &TestBed, settings: Settings) -> (RunId, Calls, JoinHandle<()>) {
    let calls = Calls::default();
    let client = counted_dynamodb(&bed.client, &calls);
    let (pool, clock, ids) = (bed.database.pool.clone(), bed.clock.clone(), bed.ids.clone());
    let reconciler = Reconciler::new(pool, client, TABLE, clock, ids).with_settings(settings);
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    let round = tokio::spawn(async move {
        reconciler.once(&CancellationToken::new()).await.unwrap();
    });
    // Only the bucket with the candidate is left.
    eventually("the other buckets", async || (done(bed, id).await == 1023).then_some(())).await;
    (id, calls, round)
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
    let (id, calls, round) = begin(&bed, Settings { grace: HOUR, ..settings() }).await;
    skip(HOUR - MINUTE).await;
    assert_eq!((done(&bed, id).await, second_reads(&calls)), (1023, 0), "before the grace is over");
    // The event arrives just in time, so there is nothing to repair.
    bed.put(listing).await;
    skip(MINUTE).await;
    round.await.unwrap();
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
    let (id, calls, round) = begin(&bed, Settings { max_wait: HOUR, ..settings() }).await;
    skip(HOUR - MINUTE).await;
    assert_eq!((done(&bed, id).await, second_reads(&calls)), (1023, 0), "before the longest wait");
    skip(MINUTE).await;
    round.await.unwrap();
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
        eventually("the run", async || bed.run(id).await.finished_at).await;
    }
    stop.cancel();
    running.await.unwrap();
}
