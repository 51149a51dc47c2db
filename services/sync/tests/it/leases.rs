//! A bucket belongs to one worker at a time, and no lease lasts for ever.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use shared::bus::postgres::Queue;
use shared::contract::routes::CATALOG_QUEUE;
use shared::database::connect;
use shared::id::LeaseId;
use sqlx::{Connection as _, PgConnection};
use sync::{Reconciler, State};
use testkit::{faulty_postgres, patient_config};
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, settings};

#[tokio::test]
async fn two_workers_share_the_buckets_without_overlap() {
    let (bed, ids) = TestBed::with_products(30).await;
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let stop = CancellationToken::new();
    let lines =
        [faulty_postgres(&bed.database.url).await, faulty_postgres(&bed.database.url).await];
    let mut workers = Vec::new();
    for line in &lines {
        let pool = connect(&patient_config(line.url.clone(), 8)).unwrap();
        // Its first connection is slow, and the other worker must not do all of the work by then.
        pool.acquire().await.unwrap();
        let (client, clock) = (bed.client.clone(), bed.clock.clone());
        let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
        let worker = Reconciler::new(pool, client, TABLE, clock, bed.ids.clone())
            .with_queue(queue)
            .with_settings(settings());
        workers.push(worker);
    }
    for done in join_all(workers.iter().map(|worker| worker.once(&stop))).await {
        done.unwrap();
    }
    // The 1,024 buckets take more than two statements each.
    let statements = lines.map(|line| line.faults.calls());
    assert!(statements.iter().all(|count| *count > 200), "unevenly shared: {statements:?}");
    let run = bed.run(id).await;
    assert_eq!(run.state, State::Finished);
    assert_eq!(run.progress.buckets_done, 1024);
    assert_eq!(run.findings.compared, i64::try_from(ids.len()).unwrap());
}

#[tokio::test]
async fn leased_bucket_is_skipped_until_the_lease_ends() {
    let (bed, ids) = TestBed::with_products(5).await;
    let bucket = i32::from(shared::contract::sync_feed::bucket_of(ids[0]));
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    // The state that a worker leaves if it crashes right after claiming the bucket.
    sqlx::query(
        "update sync.buckets set run_id = $1, lease = $2, lease_until = $3 where bucket = $4",
    )
    .bind(id)
    .bind(LeaseId::nil())
    .bind(bed.clock.now() + Duration::from_mins(1))
    .bind(bucket)
    .execute(&bed.database.pool)
    .await
    .unwrap();
    bed.round().await;
    let run = bed.run(id).await;
    assert_eq!((run.state, run.progress.buckets_done), (State::Running, 1023));

    bed.clock.advance(Duration::from_mins(1));
    bed.round().await;
    let run = bed.run(id).await;
    assert_eq!((run.state, run.findings.compared), (State::Finished, 5));
}

#[tokio::test]
async fn claimed_bucket_is_leased_for_a_minute() {
    let (bed, _) = TestBed::with_products(1).await;
    bed.reconciler.request(OPERATOR, false).await.unwrap();
    // Not from the pool: a worker that is not polled keeps its connections.
    let mut database = PgConnection::connect(&bed.database.url).await.unwrap();
    let mut leases = async || -> Vec<DateTime<Utc>> {
        let leases = "select distinct lease_until from sync.buckets where lease_until is not null";
        sqlx::query_scalar(leases).fetch_all(&mut database).await.unwrap()
    };
    let stop = CancellationToken::new();
    let mut worker = Box::pin(bed.reconciler.once(&stop));
    // The worker moves until it has claimed buckets, and then crashes.
    while leases().await.is_empty() {
        let is_done = futures::poll!(&mut worker).is_ready();
        assert!(!is_done, "the worker finished without a lease that was seen");
        tokio::task::yield_now().await;
    }
    drop(worker);
    assert_eq!(leases().await, [bed.clock.now() + Duration::from_mins(1)]);
}

#[tokio::test]
async fn stopped_worker_begins_no_bucket() {
    let (bed, _) = TestBed::with_products(1).await;
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    bed.reconciler.once(&stop).await.unwrap();
    assert_eq!(bed.run(id).await.progress.buckets_done, 0);
    bed.round().await;
    assert_eq!(bed.run(id).await.state, State::Finished);
}
