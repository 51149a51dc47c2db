use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use shared::config::Secret;
use shared::database::{DatabaseConfig, begin, connect};
use sqlx::PgPool;
use testkit::database;

/// Lets `work` be polled so many times, and then drops it where it stands, as a caller does who hangs
/// up. Returns whether it came to its end.
async fn drop_after<T>(polls: u32, work: impl Future<Output = T>) -> bool {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_transaction_that_nobody_waits_for_any_more_swallows_nothing_that_comes_after_it() {
    let database = database(&[]).await;
    sqlx::raw_sql("create table written (nth int)").execute(&database.pool).await.unwrap();
    let config = DatabaseConfig::new(Secret::new(database.url.clone()), 1, "vitrina tests");
    let pool: PgPool = connect(&config).unwrap();
    let (mut written, mut ended) = (0, false);
    while !ended {
        ended = drop_after(u32::try_from(written).unwrap(), begin(&pool)).await;
        sqlx::query("insert into written values ($1)").bind(written).execute(&pool).await.unwrap();
        written += 1;
        let there: i64 = sqlx::query_scalar("select count(*) from written")
            .fetch_one(&database.pool)
            .await
            .unwrap();
        assert_eq!(there, i64::from(written), "acknowledged over an open transaction, and lost");
    }
    assert!(written > 2, "it was never dropped halfway: what was tested?");
}
