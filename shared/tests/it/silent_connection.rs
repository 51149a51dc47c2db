//! A server that stops responding without closing its connections.

use std::time::Duration;

use shared::bus;
use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use testkit::{PostgresFault, database, eventually, faulty_postgres};

#[tokio::test]
async fn pool_drops_a_connection_that_no_longer_responds() {
    let database = database(&[&bus::MIGRATOR]).await;
    let line = faulty_postgres(&database.url).await;
    let pool =
        connect(&DatabaseConfig::new(Secret::new(line.url.clone()), 1, "vitrina tests")).unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();
    line.faults.once_after(0, PostgresFault::Silent);
    let asking = sqlx::query("select 1").execute(&pool);
    // Real time: whenever the caller gives up, there is no response.
    tokio::time::timeout(Duration::from_millis(100), asking).await.unwrap_err();

    eventually("a new connection", async || match sqlx::query("select 1").execute(&pool).await {
        Ok(_) => Some(()),
        Err(error) => {
            assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error:?}");
            None
        }
    })
    .await;
}
