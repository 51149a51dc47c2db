//! A connection that goes silent without being closed.

use std::time::{Duration, Instant};

use shared::config::Secret;
use shared::contract::sync_feed::bucket_of;
use shared::database::{DatabaseConfig, connect};
use shared::host::Work as _;
use sync::{Reconciler, Settings, StoreError, SyncError};
use testkit::{MAX_WAIT, PostgresFault, faulty_postgres, within};
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, n, settings};

#[tokio::test]
async fn pass_finishes_after_its_connection_goes_silent() {
    let (bed, ids) = TestBed::with_products(20).await;
    let line = faulty_postgres(&bed.database.url).await;
    // With the timeouts of a service: they are what gives a silent connection up.
    let url = Secret::new(line.url.clone());
    let pool = connect(&DatabaseConfig::new(url, 1, "vitrina tests")).unwrap();
    let (client, clock, new_ids) = (bed.client.clone(), bed.clock.clone(), bed.ids.clone());
    // A lease is all that ends the wait for a silent connection. One bucket at a time: on a busy machine,
    // eight that wait for the one connection would take longer than a lease.
    let lease = Duration::from_secs(2);
    let settings = Settings { lease, slice: 0, concurrency: 1, ..settings() };
    let reconciler = Reconciler::new(pool, client, TABLE, clock, new_ids).with_settings(settings);
    // During the first claim, during the first reads, and in one of the next buckets, whose releases
    // begin a transaction.
    for after in [0, 3, 41] {
        bed.overwrite_attribute(ids[0], "on_hand", n(1_000)).await;
        let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
        // One statement after the other, all 1,024 buckets would take minutes on a busy machine.
        sqlx::query("update sync.buckets set run_id = $1, done = bucket >= 20 and bucket <> $2")
            .bind(id)
            .bind(i32::from(bucket_of(ids[0])))
            .execute(&bed.database.pool)
            .await
            .unwrap();
        line.faults.once_after(after, PostgresFault::Silent);
        let mut silent = 0;
        let passes = async {
            while bed.run(id).await.finished_at.is_none() {
                match reconciler.once(&CancellationToken::new()).await {
                    Ok(_) => {}
                    // The pool may not have given up its only connection yet.
                    Err(
                        SyncError::Silent(_)
                        | SyncError::Store(StoreError::Postgres {
                            source: sqlx::Error::PoolTimedOut,
                            ..
                        }),
                    ) => silent += 1,
                    Err(other) => panic!("{other:?}"),
                }
                // The leases of the failed round end.
                bed.clock.advance(lease);
            }
        };
        within("the end of the run", Box::pin(passes)).await;
        assert!(silent >= 1, "the fault after {after} responses never occurred");
        assert_eq!(bed.run(id).await.findings.stock, 1);
        bed.arrive().await;
    }
    // The first response is that no run is requested; the second would be the age of the oldest check.
    line.faults.once_after(1, PostgresFault::Silent);
    // Real time: a deadline that is never reached.
    let ended = reconciler.until(Instant::now() + 2 * MAX_WAIT);
    let ended = within("the end of a silent invocation", Box::pin(ended)).await;
    assert!(matches!(ended, Err(SyncError::Silent(_))), "{ended:?}");
}
