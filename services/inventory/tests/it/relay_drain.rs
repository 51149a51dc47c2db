//! An invocation of the relay: what it does once something fails, and how much of the rest it does.

use std::time::{Duration, Instant};

use inventory::relay::{Relay, RelayError};
use shared::bus::postgres::PgBus;
use shared::host::Work as _;
use shared::host::tick::Progress;
use shared::id::ProductId;
use shared::outbox::RelayTimeouts;
use testkit::{NO_TIMEOUT, PATIENT_RELAY, eventually, rows};
use tokio_util::sync::CancellationToken;

use crate::TestService;
use crate::relay::{bus, relay};

/// A relay that does not wait for what stays pending.
fn impatient(service: &TestService) -> Relay<PgBus> {
    let timeouts = RelayTimeouts { drain: Duration::ZERO, ..PATIENT_RELAY };
    relay(service, bus(service)).with_timeouts(timeouts)
}

async fn execute(service: &TestService, statement: &'static str) {
    sqlx::query(statement).execute(&service.pool).await.unwrap();
}

/// Inserts `count` keys that have just expired.
async fn expired_keys(service: &TestService, count: i32) {
    sqlx::query(
        "insert into inventory.idempotency
             (subject, route, key, request_hash, aggregate_id, version, created_at)
         select $1, 'create_product', n::text, 'body', gen_random_uuid(), 1,
                $2::timestamptz - interval '24 hours 1 second'
         from generate_series(1, $3) n",
    )
    .bind(service.user_id)
    .bind(service.clock.now())
    .bind(count)
    .execute(&service.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn invocation_deletes_every_expired_key_until_its_time_is_up() {
    let service = TestService::new().await;
    expired_keys(&service, 2500).await;
    let relay = impatient(&service);
    relay.until(Instant::now()).await.unwrap();
    assert_eq!(service.count("idempotency").await, 1500, "one batch, as there is no time");
    relay.until(Instant::now() + NO_TIMEOUT).await.unwrap();
    assert_eq!(service.count("idempotency").await, 0);
}

#[tokio::test]
async fn running_relay_deletes_full_batches_one_after_the_other() {
    let service = TestService::new().await;
    expired_keys(&service, 2500).await;
    let stop = CancellationToken::new();
    let running =
        tokio::spawn(relay(&service, bus(&service)).run(std::sync::Arc::default(), stop.clone()));
    // Ten minutes would pass before another round.
    eventually("the last key", async || (service.count("idempotency").await == 0).then_some(()))
        .await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn invocation_that_deletes_no_key_has_published_and_succeeds() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    execute(&service, "alter table inventory.idempotency rename to gone").await;
    impatient(&service).until(Instant::now() + NO_TIMEOUT).await.unwrap();
    assert_eq!(service.count("outbox").await, 0);
    assert_eq!(crate::relay::subjects(&service).await.len(), 1);
}

/// Requests a repair of a product whose changes PostgreSQL aborts, as it does after a deadlock.
async fn repair_that_fails(service: &TestService) -> ProductId {
    let id = service.create("BAD-1").await.json["id"].as_str().unwrap().parse().unwrap();
    execute(
        service,
        "create function deadlock() returns trigger language plpgsql as $$
         begin raise exception 'planted' using errcode = 'deadlock_detected'; end $$",
    )
    .await;
    execute(
        service,
        "create trigger deadlock before update on inventory.products
         for each row execute function deadlock()",
    )
    .await;
    service.request_repair(id, 7).await;
    id
}

async fn assert_repaired(service: &TestService, id: ProductId) {
    let version: i64 = sqlx::query_scalar("select version from inventory.products where id = $1")
        .bind(id)
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!((version, service.count("repair_requests").await), (8, 0));
}

#[tokio::test]
async fn repair_that_fails_because_of_the_store_is_retried_at_once() {
    let service = TestService::new().await;
    let id = repair_that_fails(&service).await;
    let before = rows(&service.pool, "inventory.repair_requests", "product_id").await;
    let relay = impatient(&service);
    relay.repair().await.unwrap_err();
    let after = rows(&service.pool, "inventory.repair_requests", "product_id").await;
    assert_eq!(after, before, "it is not put off");
    execute(&service, "drop trigger deadlock on inventory.products").await;
    assert_eq!(relay.repair().await.unwrap(), Progress::More);
    assert_repaired(&service, id).await;
}

#[tokio::test]
async fn invocation_whose_repair_fails_has_published_and_reports_it() {
    let service = TestService::new().await;
    let id = repair_that_fails(&service).await;
    service.create("SHOE-1").await;
    expired_keys(&service, 1).await;
    let relay = impatient(&service);
    let error = relay.until(Instant::now() + NO_TIMEOUT).await.unwrap_err();
    assert!(matches!(error, RelayError::Repair(_)), "{error:?}");
    assert_eq!(crate::relay::subjects(&service).await.len(), 2);
    for table in ["outbox", "idempotency"] {
        assert_eq!(service.count(table).await, 0, "{table}");
    }
    assert_eq!(service.count("repair_requests").await, 1);
    execute(&service, "drop trigger deadlock on inventory.products").await;
    relay.until(Instant::now() + NO_TIMEOUT).await.unwrap();
    assert_repaired(&service, id).await;
}
