//! A connection that goes silent without being closed.

use std::time::{Duration, Instant};

use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use shared::host::Work as _;
use sync::{Reconciler, Settings, StoreError, SyncError};
use testkit::{PostgresFault, faulty_postgres};
use tokio_util::sync::CancellationToken;

use crate::test_bed::{OPERATOR, TABLE, TestBed, n, settings};

#[tokio::test]
async fn silent_connection_costs_a_pass_at_most_a_lease() {
    let (bed, ids) = TestBed::with_products(20).await;
    let line = faulty_postgres(&bed.database.url).await;
    let pool =
        connect(&DatabaseConfig::new(Secret::new(line.url.clone()), 1, "vitrina tests")).unwrap();
    let (client, clock, new_ids) = (bed.client.clone(), bed.clock.clone(), bed.ids.clone());
    let settings = Settings { lease: Duration::from_secs(1), slice: 0, ..settings() };
    let reconciler = Reconciler::new(pool, client, TABLE, clock, new_ids).with_settings(settings);
    // During the first claims, during the first reads, and during the release of a bucket.
    for after in [0, 3, 41] {
        bed.overwrite_attribute(ids[0], "on_hand", n(1_000)).await;
        let id = bed.reconciler.request(OPERATOR, false).await.unwrap();
        line.faults.once_after(after, PostgresFault::Silent);
        let mut silent = 0;
        while bed.run(id).await.finished_at.is_none() {
            assert!(silent < 10, "the run never finished");
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
            bed.clock.advance(Duration::from_secs(2));
        }
        assert!(silent >= 1, "the fault after {after} responses never occurred");
        assert_eq!(bed.run(id).await.findings.stock, 1);
        bed.arrive().await;
    }
    // The first response is that no run is requested; the second would be the age of the oldest check.
    line.faults.once_after(1, PostgresFault::Silent);
    let ended = reconciler.until(Instant::now() + Duration::from_mins(1));
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    assert!(matches!(ended, Err(SyncError::Silent(_))), "{ended:?}");
}
