//! Each connection of an edition to PostgreSQL has the name of its work: an operator sees whether a request
//! or the background holds a lock, and neither takes the connections of the other.

use std::collections::BTreeSet;

use reqwest::Method;
use testkit::eventually;

use crate::openapi::send;
use crate::requests::{Requests, product};

#[tokio::test]
async fn connection_is_named_after_its_work() {
    let data = tempfile::tempdir().unwrap();
    let requests = Requests::start(data.path()).await;
    // A request that creates a product adds to the outbox, and the relay reads it: both wait.
    let mut other = requests.process.database().await;
    let lock = "begin; lock table inventory.outbox in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let create = async {
        // A request that waits for too long gets a 503. Its client tries again.
        loop {
            let create = requests.to(Method::POST, "/v1/products").bearer_auth(&requests.seller);
            if send(create.json(&product("LOCKED"))).await.status == 201 {
                return;
            }
        }
    };
    let mut observer = requests.process.database().await;
    // An insert waits for the first mode, and the relay, which locks what it reads, for the second.
    let waiting = "select mode, application_name
                   from pg_locks join pg_stat_activity using (pid)
                   where relation = 'inventory.outbox'::regclass and not granted
                     and mode in ('RowExclusiveLock', 'RowShareLock')";
    let observe = async {
        // They need not wait at the same time.
        let mut seen = BTreeSet::new();
        eventually("a request and the relay to wait for the lock", async || {
            let names = sqlx::query_as(waiting).fetch_all(&mut observer).await.unwrap();
            seen.extend(names);
            let modes: BTreeSet<&String> = seen.iter().map(|(mode, _)| mode).collect();
            (modes.len() == 2).then_some(())
        })
        .await;
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
        seen
    };
    let ((), seen) = tokio::join!(create, observe);
    let expected =
        [("RowExclusiveLock", "vitrina requests"), ("RowShareLock", "vitrina background")];
    let expected = expected.map(|(mode, name)| (mode.to_owned(), name.to_owned()));
    assert_eq!(seen, BTreeSet::from(expected));
}
