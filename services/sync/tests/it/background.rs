//! The pass in the background is slow on purpose, and gives way.

use std::time::Duration;

use sync::{BucketProgress, Settings, State};
use uuid::Uuid;

use crate::world::{World, s, settings};

async fn background(world: &World) -> Uuid {
    sqlx::query_scalar("select id from sync.runs where requested_by is null")
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_pass_in_the_background_does_eight_buckets_a_minute_however_often_it_is_looked_after() {
    let world = World::new().await;
    world.round().await;
    let id = background(&world).await;
    let done = |buckets_done| BucketProgress { buckets_done, buckets: 1024 };
    assert_eq!(world.run(id).await.progress, done(8));
    world.round().await;
    assert_eq!(world.run(id).await.progress, done(8));
    world.clock.advance(Duration::from_mins(1));
    world.round().await;
    assert_eq!(world.run(id).await.progress, done(16));
}

#[tokio::test]
async fn once_a_day_the_pass_in_the_background_hashes_whole_listings_again() {
    let (mut world, ids) = World::with_products(2).await;
    let all_at_once = Settings { slice: 1024, ..settings() };
    world.reconciler = world.reconciler.clone().with_settings(all_at_once);
    let mut altered: Vec<i64> = Vec::new();
    for _ in 0..5 {
        // Under its own hash: only who hashes it again can know.
        world.tamper(ids[0], "name", s("Stolen shoe")).await;
        world.round().await;
        world.arrive().await;
        let last = sqlx::query_scalar("select altered from sync.runs order by id desc limit 1");
        altered.push(last.fetch_one(&world.database.pool).await.unwrap());
        world.clock.advance(Duration::from_hours(8));
    }
    assert_eq!(altered, [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_run_that_supersedes_a_deep_one_is_deep_itself() {
    let (world, ids) = World::with_products(2).await;
    world.tamper(ids[0], "name", s("Stolen shoe")).await;
    // The first in the background is.
    world.round().await;
    assert_eq!(world.reconcile(false).await.findings.altered, 1);
    world.arrive().await;
    world.tamper(ids[0], "name", s("Stolen shoe")).await;
    world.round().await;
    assert_eq!(world.reconcile(false).await.findings.altered, 0);
}

#[tokio::test]
async fn a_run_that_somebody_asks_for_supersedes_the_one_in_the_background() {
    let (world, _) = World::with_products(3).await;
    world.round().await;
    let id = background(&world).await;
    let run = world.reconcile(false).await;
    assert_eq!((run.state, run.findings.compared), (State::Finished, 3));
    assert_eq!(world.run(id).await.state, State::Superseded);
}

#[tokio::test]
async fn runs_are_done_in_the_order_in_which_they_were_asked_for() {
    let (world, _) = World::with_products(2).await;
    let first = world.reconciler.request(Uuid::nil(), false).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let second = world.reconciler.request(Uuid::nil(), true).await.unwrap();
    world.round().await;
    assert_eq!(world.run(first).await.state, State::Finished);
    assert_eq!(world.run(second).await.state, State::Pending);
    world.round().await;
    assert_eq!(world.run(second).await.state, State::Finished);
}
