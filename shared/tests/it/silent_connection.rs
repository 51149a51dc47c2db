//! A server that stops responding without closing its connections.

use std::time::Duration;

use shared::bus;
use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use sqlx::PgPool;
use testkit::{NO_TIMEOUT, PostgresFault, database, eventually, faulty_postgres};

/// Lets a call over the only connection of a pool meet silence, and gives it up. Returns when the pool
/// has connected again.
async fn silence<T: std::fmt::Debug>(call: impl AsyncFn(PgPool) -> Result<T, sqlx::Error>) {
    let database = database(&[&bus::MIGRATOR]).await;
    let line = faulty_postgres(&database.url).await;
    let pool =
        connect(&DatabaseConfig::new(Secret::new(line.url.clone()), 1, "vitrina tests")).unwrap();
    sqlx::query("select 1").execute(&pool).await.unwrap();
    line.faults.once_after(0, PostgresFault::Silent);
    let before = line.faults.calls();
    tokio::select! {
        ended = call(pool.clone()) => panic!("{ended:?}"),
        // Then its caller gives up.
        () = eventually("the call", async || (line.faults.calls() > before).then_some(())) => {}
    }

    eventually("a new connection", async || match sqlx::query("select 1").execute(&pool).await {
        Ok(_) => Some(()),
        Err(error) => {
            assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error:?}");
            None
        }
    })
    .await;
}

#[tokio::test]
async fn pool_drops_a_connection_that_no_longer_responds() {
    silence(async |pool| sqlx::query("select 1").execute(&pool).await).await;
}

#[tokio::test]
async fn pool_drops_a_connection_that_is_silent_at_begin() {
    silence(async |pool| pool.begin().await).await;
}

/// What a statement over the only connection of a pool says, once its server has ended it.
async fn ended_while_idle(fresh: Duration) -> Result<bool, sqlx::Error> {
    let database = database(&[&bus::MIGRATOR]).await;
    let url = Secret::new(database.url.clone());
    let config = DatabaseConfig { fresh, ..DatabaseConfig::new(url, 1, "vitrina tests") };
    let pool = connect(&config).unwrap();
    let own = async || sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await;
    let before: i32 = own().await.unwrap();
    eventually("its return", async || (pool.num_idle() == 1).then_some(())).await;
    eventually("the end of the connection", async || {
        let end = sqlx::query_scalar("select pg_terminate_backend($1)").bind(before);
        let is_there: bool = end.fetch_one(&database.pool).await.unwrap();
        (!is_there).then_some(())
    })
    .await;
    own().await.map(|after: i32| after != before)
}

#[tokio::test]
async fn connection_that_ended_while_idle_is_replaced_before_its_use() {
    assert!(ended_while_idle(Duration::ZERO).await.unwrap(), "another connection responds");
    // Without a ping, the first statement meets its end.
    ended_while_idle(NO_TIMEOUT).await.unwrap_err();
}
