//! What is only under way is no difference.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn what_waits_in_the_outbox_or_in_the_queue_is_no_difference() {
    let (world, ids) = World::with_products(3).await;
    world.change(ids[0], json!({"name": "Newer shoe"})).await;
    world.set_stock(ids[1], 9).await;
    world.create("NEW", "shoes").await;

    let run = world.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 3), "in the outbox: {run:?}");
    world.publish().await;
    let run = world.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 3), "in the queue: {run:?}");
    world.project().await;
    let run = world.reconcile(false).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "arrived: {run:?}");
}

#[tokio::test]
async fn an_event_that_was_lost_on_its_way_is_a_difference() {
    let (world, ids) = World::with_products(2).await;
    world.change(ids[0], json!({"name": "Newer shoe"})).await;
    world.publish().await;
    sqlx::query("delete from bus.messages").execute(&world.database.pool).await.unwrap();
    let run = world.reconcile(false).await;
    assert_eq!((run.findings.stale, run.findings.repaired), (1, 1));
    world.arrive().await;
    assert_eq!(world.reconcile(true).await.findings.differences(), 0);
}

#[tokio::test]
async fn nothing_is_a_false_alarm_while_sellers_write() {
    let (world, ids) = World::with_products(30).await;
    let done = AtomicBool::new(false);
    let write = async {
        let mut nth = 0;
        while !done.load(Ordering::SeqCst) {
            let id = ids[nth % ids.len()];
            if nth % 3 == 0 {
                let patch = json!({"name": format!("Shoe {nth}")});
                world.change(id, patch).await;
            } else if nth % 3 == 1 {
                world.set_stock(id, 100 + i64::try_from(nth).unwrap()).await;
            } else {
                world.create(&format!("NEW-{nth}"), "hats").await;
            }
            nth += 1;
        }
        nth
    };
    let carry = async {
        while !done.load(Ordering::SeqCst) {
            world.publish().await;
            world.project().await;
            tokio::task::yield_now().await;
        }
    };
    let reconcile = async {
        let mut runs = Vec::new();
        for deep in [false, true] {
            runs.push(world.reconcile(deep).await);
        }
        done.store(true, Ordering::SeqCst);
        runs
    };
    let (runs, written, ()) = tokio::join!(reconcile, write, carry);
    assert!(written > 10, "only {written} writes went on meanwhile");
    for run in runs {
        assert_eq!((run.findings.differences(), run.findings.repaired), (0, 0), "{run:?}");
    }
    world.arrive().await;
    let run = world.reconcile(true).await;
    assert_eq!((run.findings.differences(), run.findings.moving), (0, 0), "{run:?}");
}
