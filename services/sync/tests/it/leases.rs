//! A bucket belongs to one worker at a time, and to nobody for ever.

use std::time::Duration;

use sync::State;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{OPERATOR, World};

#[tokio::test]
async fn two_workers_share_the_buckets_and_take_none_twice() {
    let (world, ids) = World::with_products(30).await;
    let id = world.reconciler.request(OPERATOR, false).await.unwrap();
    let stop = CancellationToken::new();
    let other = world.reconciler.clone();
    let (a, b) = tokio::join!(world.reconciler.once(&stop), other.once(&stop));
    a.unwrap();
    b.unwrap();
    let run = world.run(id).await;
    assert_eq!(run.state, State::Finished);
    assert_eq!(run.progress.buckets_done, 1024);
    assert_eq!(run.findings.compared, i64::try_from(ids.len()).unwrap());
}

#[tokio::test]
async fn a_lease_is_left_alone_until_it_ends_and_then_resumed() {
    let (world, ids) = World::with_products(5).await;
    let bucket = i32::from(shared::contract::sync_feed::bucket_of(ids[0]));
    let id = world.reconciler.request(OPERATOR, false).await.unwrap();
    // As a worker leaves it that died after it had taken the bucket.
    sqlx::query(
        "update sync.buckets set run_id = $1, lease = $2, lease_until = $3 where bucket = $4",
    )
    .bind(id)
    .bind(Uuid::nil())
    .bind(world.clock.now() + Duration::from_mins(1))
    .bind(bucket)
    .execute(&world.database.pool)
    .await
    .unwrap();
    world.round().await;
    let run = world.run(id).await;
    assert_eq!((run.state, run.progress.buckets_done), (State::Running, 1023));

    world.clock.advance(Duration::from_mins(1));
    world.round().await;
    let run = world.run(id).await;
    assert_eq!((run.state, run.findings.compared), (State::Finished, 5));
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_begins_no_bucket() {
    let (world, _) = World::with_products(1).await;
    let id = world.reconciler.request(OPERATOR, false).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    world.reconciler.once(&stop).await.unwrap();
    assert_eq!(world.run(id).await.progress.buckets_done, 0);
    world.round().await;
    assert_eq!(world.run(id).await.state, State::Finished);
}
