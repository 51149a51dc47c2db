//! Events in flight do not count as differences.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt as _;
use serde_json::json;
use testkit::Interference;

use crate::test_bed::{TestBed, n, s};

#[tokio::test]
async fn event_in_the_outbox_or_the_queue_is_not_a_difference() {
    let (bed, ids) = TestBed::with_products(3).await;
    bed.change(ids[0], json!({"name": "Newer shoe"})).await;
    bed.set_stock(ids[1], 9).await;
    bed.create("NEW", "shoes").await;

    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 3), "in the outbox: {run:?}");
    bed.publish().await;
    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 3), "in the queue: {run:?}");
    bed.project().await;
    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "arrived: {run:?}");
}

#[tokio::test]
async fn event_of_a_newer_build_is_in_flight_for_every_part() {
    let (bed, ids) = TestBed::with_products(2).await;
    bed.change(ids[0], json!({"name": "Newer shoe"})).await;
    bed.set_stock(ids[1], 9).await;
    bed.publish().await;
    sqlx::query("update bus.messages set event_type = 'FromTheFuture'")
        .execute(&bed.database.pool)
        .await
        .unwrap();
    let found = bed.reconcile_products(&ids, false).await.findings;
    assert_eq!((found.differences(), found.moving), (0, 2), "{found:?}");
}

#[tokio::test]
async fn event_in_flight_excuses_its_own_part_only() {
    for is_published in [false, true] {
        let (bed, ids) = TestBed::with_products(2).await;
        bed.set_stock(ids[0], 9).await;
        bed.overwrite_attribute(ids[0], "content_hash", s(&"0".repeat(64))).await;
        bed.change(ids[1], json!({"name": "Newer shoe"})).await;
        bed.overwrite_attribute(ids[1], "on_hand", n(1_000)).await;
        if is_published {
            bed.publish().await;
        }
        let found = bed.reconcile_products(&ids, false).await.findings;
        let counts = (found.altered, found.stock, found.moving, found.repaired);
        assert_eq!(counts, (1, 1, 0, 2), "{is_published}: {found:?}");
    }
}

#[tokio::test]
async fn lost_event_is_a_difference() {
    let (bed, ids) = TestBed::with_products(2).await;
    bed.change(ids[0], json!({"name": "Newer shoe"})).await;
    bed.publish().await;
    sqlx::query("delete from bus.messages").execute(&bed.database.pool).await.unwrap();
    let run = bed.reconcile(false).await;
    assert_eq!((run.findings.stale, run.findings.repaired), (1, 1));
    bed.arrive().await;
    assert_eq!(bed.reconcile(true).await.findings.differences(), 0);
}

/// How an event moves while its product is looked at.
#[derive(Clone, Copy, Debug)]
enum Move {
    ToTheQueue,
    FromTheQueue,
    AllTheWay,
    /// The next change follows at once.
    BeforeAnother,
}

#[tokio::test]
async fn event_that_moves_between_two_reads_is_no_difference() {
    for point in ["sync.outbox_read", "sync.events_read", "sync.listings_read"] {
        for moves in [Move::ToTheQueue, Move::FromTheQueue, Move::AllTheWay, Move::BeforeAnother] {
            let (bed, ids) = TestBed::with_products(1).await;
            let id = ids[0];
            bed.change(id, json!({"name": "Newer shoe"})).await;
            if matches!(moves, Move::FromTheQueue) {
                bed.publish().await;
            }
            let bed = Arc::new(bed);
            let mover = Arc::clone(&bed);
            let moved = Interference::at(point, 1, move |_| {
                let bed = Arc::clone(&mover);
                async move {
                    match moves {
                        Move::ToTheQueue => bed.publish().await,
                        Move::FromTheQueue => bed.project().await,
                        Move::AllTheWay => bed.arrive().await,
                        Move::BeforeAnother => {
                            bed.arrive().await;
                            bed.change(id, json!({"name": "Newest shoe"})).await;
                        }
                    }
                }
                .boxed()
            });
            let found = bed.reconcile_products(&ids, false).await.findings;
            assert_eq!(moved.take()[point], 1, "{point} {moves:?}");
            Interference::none();
            let counts = (found.differences(), found.repaired);
            assert_eq!(counts, (0, 0), "{point} {moves:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn no_false_alarm_while_sellers_write() {
    let (bed, ids) = TestBed::with_products(30).await;
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let write = async {
        while !done.load(Ordering::SeqCst) {
            let nth = written.load(Ordering::SeqCst);
            let id = ids[nth % ids.len()];
            if nth % 3 == 0 {
                let patch = json!({"name": format!("Shoe {nth}")});
                bed.change(id, patch).await;
            } else if nth % 3 == 1 {
                bed.set_stock(id, 100 + i64::try_from(nth).unwrap()).await;
            } else {
                bed.create(&format!("NEW-{nth}"), "hats").await;
            }
            written.fetch_add(1, Ordering::SeqCst);
        }
    };
    let carry = async {
        while !done.load(Ordering::SeqCst) {
            bed.publish().await;
            bed.project().await;
            tokio::task::yield_now().await;
        }
    };
    let reconcile = async {
        let mut runs = Vec::new();
        while runs.len() < 2 || written.load(Ordering::SeqCst) <= 10 {
            runs.push(bed.reconcile(runs.len() % 2 == 1).await);
        }
        done.store(true, Ordering::SeqCst);
        runs
    };
    let (runs, (), ()) = tokio::join!(reconcile, write, carry);
    for run in runs {
        assert_eq!((run.findings.differences(), run.findings.repaired), (0, 0), "{run:?}");
    }
    bed.arrive().await;
    let run = bed.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
}
