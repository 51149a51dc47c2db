//! A store that says nothing any more, not even that it is gone.

use std::time::{Duration, Instant};

use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use shared::host::Work as _;
use shared::testkit::{PostgresFault, faulty_postgres};
use sync::{Reconciler, Settings, StoreError, SyncError};
use tokio_util::sync::CancellationToken;

use crate::world::{OPERATOR, TABLE, World, n, settings};

#[tokio::test]
async fn a_connection_that_goes_silent_costs_a_pass_a_lease_and_no_more() {
    let (world, ids) = World::with_products(20).await;
    let line = faulty_postgres(&world.database.url).await;
    let pool =
        connect(&DatabaseConfig::new(Secret::new(line.url.clone()), 1, "vitrina tests")).unwrap();
    let (client, clock, new_ids) = (world.client.clone(), world.clock.clone(), world.ids.clone());
    let settings = Settings { lease: Duration::from_secs(1), slice: 0, ..settings() };
    let reconciler = Reconciler::new(pool, client, TABLE, clock, new_ids).with_settings(settings);
    // Among the first claims, in the walk, and where a bucket is given back.
    for after in [0, 3, 41] {
        world.tamper(ids[0], "on_hand", n(1_000)).await;
        let id = world.reconciler.request(OPERATOR, false).await.unwrap();
        line.faults.once_after(after, PostgresFault::Silent);
        let mut silent = 0;
        while world.run(id).await.finished_at.is_none() {
            assert!(silent < 10, "nothing came after it");
            match reconciler.once(&CancellationToken::new()).await {
                Ok(_) => {}
                // Or its only connection is not given up yet.
                Err(
                    SyncError::Silent(_)
                    | SyncError::Store(StoreError::Postgres {
                        source: sqlx::Error::PoolTimedOut,
                        ..
                    }),
                ) => silent += 1,
                Err(other) => panic!("{other:?}"),
            }
            // What the round left behind is nobody's then.
            world.clock.advance(Duration::from_secs(2));
        }
        assert!(silent >= 1, "it was met after {after}");
        assert_eq!(world.run(id).await.findings.stock, 1);
        world.arrive().await;
    }
    // After it is known that no run is wanted, it is asked how old the oldest comparison is.
    line.faults.once_after(1, PostgresFault::Silent);
    let ended = reconciler.until(Instant::now() + Duration::from_mins(1));
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    assert!(matches!(ended, Err(SyncError::Silent(_))), "{ended:?}");
}
