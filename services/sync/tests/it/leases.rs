//! A bucket belongs to one worker at a time, and no lease lasts for ever.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::join_all;
use shared::bus::postgres::Queue;
use shared::contract::routes::CATALOG_QUEUE;
use shared::contract::sync_feed::bucket_of;
use shared::database::connect;
use shared::id::{LeaseId, RunId};
use sqlx::{Connection as _, PgConnection};
use sync::{Reconciler, Settings, State};
use testkit::{
    DynamoFault, Faults, Interference, faulty_dynamodb, faulty_postgres, locks_are_awaited,
    patient_config, rows,
};
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
    let bucket = i32::from(bucket_of(ids[0]));
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

#[tokio::test]
async fn background_pass_that_another_worker_begins_is_joined() {
    let (bed, _) = TestBed::with_products(1).await;
    let pool = &bed.database.pool;
    let id: RunId = bed.ids.next(bed.clock.now());
    let mut other = pool.begin().await.unwrap();
    let begin = "insert into sync.runs (id, deep, requested_at) values ($1, true, $2)";
    sqlx::query(begin).bind(id).bind(bed.clock.now()).execute(&mut *other).await.unwrap();
    let committing = async {
        locks_are_awaited(pool, 1).await;
        other.commit().await.unwrap();
    };
    tokio::join!(bed.round(), committing);
    let runs = rows(pool, "sync.runs", "id").await;
    assert_eq!((runs.len(), &runs[0]["id"]), (1, &serde_json::json!(id)));
    assert_eq!(bed.run(id).await.progress.buckets_done, 8);
}

#[tokio::test]
async fn bucket_that_another_worker_claims_is_skipped() {
    let (bed, _) = TestBed::with_products(1).await;
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    bed.leave_only(id, &[6, 7, 8]).await;
    let mut other = bed.database.pool.begin().await.unwrap();
    let lock = "select 1 from sync.buckets where bucket = 7 for update";
    sqlx::query(lock).execute(&mut *other).await.unwrap();
    bed.round().await;
    assert_eq!(bed.run(id).await.progress.buckets_done, 1023);
    other.rollback().await.unwrap();
    bed.round().await;
    assert_eq!(bed.run(id).await.state, State::Finished);
}

#[tokio::test]
async fn result_of_a_lost_lease_is_dropped() {
    let (bed, ids) = TestBed::with_products(3).await;
    bed.remove(ids[0]).await;
    let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let buckets: Vec<i32> = ids.iter().map(|id| bucket_of(*id).into()).collect();
    bed.leave_only(id, &buckets).await;
    let pool = bed.database.pool.clone();
    // Another worker takes over every bucket that this one is about to release.
    let taken = Interference::at("sync.looked", 1_024, move |_| {
        let pool = pool.clone();
        async move {
            let take = "update sync.buckets set lease = $1 where lease is not null";
            sqlx::query(take).bind(LeaseId::nil()).execute(&pool).await.unwrap();
        }
        .boxed()
    });
    bed.round().await;
    let passed = taken.take();
    assert!(!passed.contains_key("sync.committed"), "{passed:?}");
    let run = bed.run(id).await;
    assert_eq!((run.progress.buckets_done, run.findings.compared), (1021, 0));
    assert_eq!((run.findings.missing, run.findings.repaired), (0, 0));
    assert_eq!(rows(&bed.database.pool, "inventory.outbox", "position").await.len(), 0);
    // The other worker's leases end, and the run finishes with each product counted once.
    Interference::none();
    bed.clock.advance(Duration::from_mins(1));
    bed.round().await;
    let run = bed.run(id).await;
    assert_eq!((run.state, run.findings.compared, run.findings.repaired), (State::Finished, 3, 1));
}

#[tokio::test]
async fn bucket_whose_listings_cannot_be_read_stays_due() {
    let (bed, ids) = TestBed::with_products(3).await;
    let faults = Faults::default();
    let client = faulty_dynamodb(&bed.client, &faults);
    let (pool, clock, new_ids) = (bed.database.pool.clone(), bed.clock.clone(), bed.ids.clone());
    let reconciler = Reconciler::new(pool, client, TABLE, clock, new_ids).with_settings(settings());
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    // Twenty buckets, and those of the products.
    let mut buckets: Vec<i32> = ids.iter().map(|id| bucket_of(*id).into()).collect();
    buckets.extend((0..1_024).filter(|it| !buckets.contains(it)).take(20).collect::<Vec<_>>());
    bed.leave_only(id, &buckets).await;
    // All listings are out: a round ends with the sixteen buckets that it has claimed.
    faults.plan(|_| Some(DynamoFault::INTERNAL));
    for _ in 0..2 {
        let calls = faults.calls();
        let failed = reconciler.once(&CancellationToken::new()).await;
        assert!(failed.is_err(), "{failed:?}");
        let calls = faults.calls() - calls;
        assert!((1..=16 * 3).contains(&calls), "{calls} calls, each made three times");
    }
    assert_eq!(bed.run(id).await.progress.buckets_done, 1_001);
    // The listings of one bucket cannot be read: the others are compared.
    let bucket = format!("\"N\":\"{}\"", bucket_of(ids[0]));
    faults.plan(move |call| call.contains(&bucket).then_some(DynamoFault::INTERNAL));
    for _ in 0..20 {
        bed.clock.advance(Duration::from_mins(1));
        // A failed bucket keeps its lease, so that the next round begins with others.
        for _ in 0..2 {
            let _ = reconciler.once(&CancellationToken::new()).await;
        }
        if bed.run(id).await.progress.buckets_done == 1023 {
            break;
        }
    }
    let run = bed.run(id).await;
    assert_eq!((run.state, run.progress.buckets_done), (State::Running, 1023));
    faults.clear();
    bed.clock.advance(Duration::from_mins(1));
    reconciler.once(&CancellationToken::new()).await.unwrap();
    let run = bed.run(id).await;
    assert_eq!((run.state, run.findings.compared), (State::Finished, 3));
}

#[tokio::test]
async fn run_begins_each_bucket_at_its_first_product() {
    let mut bed = TestBed::new().await;
    // A page of candidates would end the round within the bucket.
    bed.reconciler = bed.reconciler.with_settings(Settings { page: 9, ..settings() });
    // Until one bucket has two products.
    let mut last_of = HashMap::new();
    let (first, last) = loop {
        let id = bed.create(&format!("SKU-{}", last_of.len()), "shoes").await;
        if let Some(other) = last_of.insert(bucket_of(id), id) {
            break (id.min(other), id.max(other));
        }
    };
    bed.arrive().await;
    let other: RunId = bed.ids.next(bed.clock.now());
    // Another run ended in the middle of it, or stopped there for ever.
    for run in [None, Some(other)] {
        for resume_after in [first, last] {
            bed.remove(first).await;
            bed.remove(last).await;
            let leave = "update sync.buckets set run_id = $1, done = false, resume_after = $2
                         where bucket = $3";
            sqlx::query(leave)
                .bind(run)
                .bind(resume_after)
                .bind(i32::from(bucket_of(first)))
                .execute(&bed.database.pool)
                .await
                .unwrap();
            let found = bed.reconcile_products(&[first], false).await.findings;
            assert_eq!((found.compared, found.missing, found.repaired), (2, 2, 2), "{run:?}");
            bed.arrive().await;
        }
    }
}

#[tokio::test]
async fn release_leaves_later_commits_durable() {
    let (bed, ids) = TestBed::with_products(2).await;
    let pool = connect(&patient_config(bed.database.url.clone(), 1)).unwrap();
    let (client, clock) = (bed.client.clone(), bed.clock.clone());
    let reconciler = Reconciler::new(pool.clone(), client, TABLE, clock, bed.ids.clone())
        .with_settings(settings());
    let id = reconciler.request(OPERATOR, false).await.unwrap();
    bed.leave_only(id, &ids.iter().map(|id| bucket_of(*id).into()).collect::<Vec<_>>()).await;
    let commit = async || -> String {
        sqlx::query_scalar("show synchronous_commit").fetch_one(&pool).await.unwrap()
    };
    assert_eq!(commit().await, "on");
    reconciler.once(&CancellationToken::new()).await.unwrap();
    assert_eq!(bed.run(id).await.state, State::Finished);
    // Later transactions of the same connection are durable.
    assert_eq!(commit().await, "on");
}
