//! What an invocation of the relay counts and measures when a part of it fails.

use std::time::Instant;

use inventory::relay::{Relay, RelayError};
use shared::bus::Publish;
use shared::host::Work as _;
use shared::host::tick::Progress;
use testkit::{DeadBus, MAX_WAIT, PATIENT_RELAY};

use super::metrics::{Samples, assert_samples, record};
use super::situation::{Situation, advance};

fn relay<B: Publish>(it: &Situation, bus: B) -> Relay<B> {
    Relay::new(it.database.pool.clone(), bus, it.clocks.relay.clone(), it.ids.clone())
        .with_timeouts(PATIENT_RELAY)
}

const NOTHING_PUBLISHED: Samples =
    &[("vitrina_outbox_pending", "2"), ("vitrina_outbox_oldest_pending_seconds", "41.25")];

#[tokio::test]
async fn backlog_is_measured_when_the_bus_is_out() {
    record!(recorder);
    let it = Situation::new().await;
    it.create(0).await;
    it.create(1).await;
    // Committed at 0.25 s, and the relay's clock shows 41.5 s.
    advance(&it.clocks.relay, 40_000);
    let error = relay(&it, DeadBus::default()).until(Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::Publish(_)), "{error:?}");
    assert_samples(&recorder.render(), NOTHING_PUBLISHED);
}

#[tokio::test]
async fn failed_repair_is_counted_once_and_put_off() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = [it.create(0).await];
    it.execute(
        "alter table inventory.products add constraint planted check (version = 1) not valid",
    )
    .await;
    it.execute_for(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         select unnest($1), 'product', 7, '2026-01-01Z'",
        &ids,
    )
    .await;
    let relay = relay(&it, it.bus.clone());
    let progress = [relay.repair().await.unwrap(), relay.repair().await.unwrap()];
    assert_eq!(progress, [Progress::More, Progress::Idle]);
    let expected = [("vitrina_background_failures_total{work=\"repair\"}", "1")];
    assert_samples(&recorder.render(), &expected);
}

#[tokio::test]
async fn failed_deletion_of_keys_is_counted() {
    record!(recorder);
    let it = Situation::new().await;
    it.create(0).await;
    it.execute("alter table inventory.idempotency rename to gone").await;
    // Real time: a deadline that is never reached.
    relay(&it, it.bus.clone()).until(Instant::now() + MAX_WAIT).await.unwrap();
    let expected = [("vitrina_background_failures_total{work=\"forget\"}", "1")];
    assert_samples(&recorder.render(), &expected);
}

#[tokio::test]
async fn failed_repair_is_counted_when_the_bus_is_out_as_well() {
    record!(recorder);
    let it = Situation::new().await;
    let ids = [it.create(0).await];
    for statement in [
        "create function deadlock() returns trigger language plpgsql as $$
         begin raise exception 'planted' using errcode = 'deadlock_detected'; end $$",
        "create trigger deadlock before update on inventory.products
         for each row execute function deadlock()",
    ] {
        it.execute(statement).await;
    }
    it.execute_for(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         select unnest($1), 'product', 7, '2026-01-01Z'",
        &ids,
    )
    .await;
    let error = relay(&it, DeadBus::default()).until(Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::Publish(_)), "{error:?}");
    let expected = [("vitrina_background_failures_total{work=\"repair\"}", "1")];
    assert_samples(&recorder.render(), &expected);
}
