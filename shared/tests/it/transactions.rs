use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use shared::database::connect;
use sqlx::PgPool;
use testkit::{database, patient_config};

/// Polls `work` at most `polls` times and then drops it, as when a client disconnects. Returns whether
/// it completed.
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
async fn abandoned_transaction_does_not_swallow_later_writes() {
    let database = database(&[]).await;
    sqlx::raw_sql("create table written (nth int)").execute(&database.pool).await.unwrap();
    let pool: PgPool = connect(&patient_config(database.url.clone(), 1)).unwrap();
    let (mut written, mut abandoned) = (0, 0);
    // On a busy machine, a transaction may begin within one poll.
    for _ in 0..100 {
        for polls in 0.. {
            let ended = drop_after(polls, pool.begin()).await;
            let write = sqlx::query("insert into written values ($1)").bind(written);
            write.execute(&pool).await.unwrap();
            written += 1;
            let there: i64 = sqlx::query_scalar("select count(*) from written")
                .fetch_one(&database.pool)
                .await
                .unwrap();
            assert_eq!(
                there,
                i64::from(written),
                "acknowledged within an abandoned transaction, and lost"
            );
            if ended {
                break;
            }
            abandoned += u32::from(polls > 0);
        }
        if abandoned > 0 {
            break;
        }
    }
    assert!(abandoned > 0, "no transaction was abandoned halfway");
}
