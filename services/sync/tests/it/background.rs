//! The background pass is slow on purpose and yields to requested runs.

use std::time::Duration;

use shared::id::{RunId, UserId};
use sync::{BucketProgress, Settings, State};

use crate::test_bed::{TestBed, s, settings};

async fn background(bed: &TestBed) -> RunId {
    sqlx::query_scalar("select id from sync.runs where requested_by is null")
        .fetch_one(&bed.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn background_pass_does_eight_buckets_a_minute() {
    let bed = TestBed::new().await;
    bed.round().await;
    let id = background(&bed).await;
    let done = |buckets_done| BucketProgress { buckets_done, buckets: 1024 };
    assert_eq!(bed.run(id).await.progress, done(8));
    bed.round().await;
    assert_eq!(bed.run(id).await.progress, done(8));
    bed.clock.advance(Duration::from_secs(59));
    bed.round().await;
    assert_eq!(bed.run(id).await.progress, done(8));
    bed.clock.advance(Duration::from_secs(1));
    bed.round().await;
    assert_eq!(bed.run(id).await.progress, done(16));
}

#[tokio::test]
async fn background_pass_is_deep_once_a_day() {
    let (mut bed, ids) = TestBed::with_products(2).await;
    let all_at_once = Settings { slice: 1024, ..settings() };
    bed.reconciler = bed.reconciler.clone().with_settings(all_at_once);
    let mut altered: Vec<i64> = Vec::new();
    for _ in 0..5 {
        // Its stored hash stays the same: only hashing it again shows the difference.
        bed.overwrite_attribute(ids[0], "name", s("Stolen shoe")).await;
        bed.round().await;
        bed.arrive().await;
        let last = sqlx::query_scalar("select altered from sync.runs order by id desc limit 1");
        altered.push(last.fetch_one(&bed.database.pool).await.unwrap());
        bed.clock.advance(Duration::from_hours(8));
    }
    assert_eq!(altered, [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn run_that_supersedes_a_deep_pass_is_deep() {
    let (bed, ids) = TestBed::with_products(2).await;
    bed.overwrite_attribute(ids[0], "name", s("Stolen shoe")).await;
    // The first background pass is deep.
    bed.round().await;
    assert_eq!(bed.reconcile(false).await.findings.altered, 1);
    bed.arrive().await;
    bed.overwrite_attribute(ids[0], "name", s("Stolen shoe")).await;
    bed.round().await;
    assert_eq!(bed.reconcile(false).await.findings.altered, 0);
}

#[tokio::test]
async fn requested_run_supersedes_the_background_pass() {
    let (bed, _) = TestBed::with_products(3).await;
    bed.round().await;
    let id = background(&bed).await;
    let run = bed.reconcile(false).await;
    assert_eq!((run.state, run.findings.compared), (State::Finished, 3));
    assert_eq!(bed.run(id).await.state, State::Superseded);
}

#[tokio::test]
async fn runs_are_done_in_the_order_of_their_requests() {
    let (bed, _) = TestBed::with_products(2).await;
    let first = bed.reconciler.request(UserId::nil(), false).await.unwrap();
    bed.clock.advance(Duration::from_secs(1));
    let second = bed.reconciler.request(UserId::nil(), true).await.unwrap();
    bed.round().await;
    assert_eq!(bed.run(first).await.state, State::Finished);
    assert_eq!(bed.run(second).await.state, State::Pending);
    bed.round().await;
    assert_eq!(bed.run(second).await.state, State::Finished);
}

#[tokio::test]
async fn slice_of_no_buckets_means_no_background_pass() {
    let (mut bed, _) = TestBed::with_products(1).await;
    bed.reconciler = bed.reconciler.clone().with_settings(Settings { slice: 0, ..settings() });
    let count = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from sync.runs");
        count.fetch_one(&bed.database.pool).await.unwrap()
    };
    for _ in 0..2 {
        bed.round().await;
        assert_eq!(count().await, 0);
        bed.clock.advance(Duration::from_hours(24));
    }
    let id = bed.reconciler.request(UserId::nil(), false).await.unwrap();
    bed.leave_only(id, &[7]).await;
    bed.round().await;
    assert_eq!((bed.run(id).await.state, count().await), (State::Finished, 1));
}
