//! A bus that is out: how long the relay waits for it, and how often it calls it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use inventory::relay::Relay;
use shared::bus::Publish;
use shared::bus::postgres::PgBus;
use shared::contract::routes::ROUTES;
use shared::host::Work as _;
use shared::http::auth::Role;
use shared::id::Ids;
use shared::outbox::{self, publish_before_responses};
use testkit::{Call, DeadBus, SilentBus, eventually, set_back, skip_until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{TestService, shoe};

fn relay<B: Publish>(service: &TestService, bus: B) -> Relay<B> {
    // Real time: these timeouts are under test, and the tests skip them.
    Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
}

#[tokio::test]
async fn relay_waits_two_seconds_for_a_silent_bus() {
    let (service, bus) = (TestService::new().await, SilentBus::default());
    service.create("SHOE-1").await;
    service.create("SHOE-2").await;
    let error = relay(&service, bus.clone()).once().await.unwrap_err();
    assert!(matches!(error, outbox::RelayError::Timeout { count: 2 }), "{error:?}");
    assert_eq!(bus.0.waits(), [Duration::from_secs(2)]);
    assert_eq!(service.count("outbox").await, 2, "the events stay pending");
}

#[tokio::test]
async fn response_waits_150_milliseconds_for_a_silent_bus() {
    let (service, bus) = (TestService::new().await, SilentBus::default());
    service.create("SHOE-1").await;
    let events = relay(&service, bus.clone()).into_events();
    let api = Router::new().route("/", post(async || "written").get(async || "read"));
    let api = publish_before_responses(api, events);
    // A read has written nothing to publish.
    assert_eq!(Call::get("/").send(&api).await.expect(200).text, "read");
    assert!(bus.0.waits().is_empty());
    // On a busy machine, claiming the event may take that long already.
    while bus.0.waits().is_empty() {
        // Paused time: by the bus that is silent.
        let begun = Instant::now();
        assert_eq!(Call::post("/").send(&api).await.expect(200).text, "written");
        assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    }
    assert!(bus.0.waits()[0] <= Duration::from_millis(150), "{:?}", bus.0.waits());
    assert_eq!(service.count("outbox").await, 1);
}

#[tokio::test]
async fn bus_that_is_out_is_called_less_and_less() {
    let (service, bus) = (TestService::new().await, DeadBus::default());
    service.create("SHOE-1").await;
    let stop = CancellationToken::new();
    let nudge = Arc::new(tokio::sync::Notify::new());
    let running = tokio::spawn(relay(&service, bus.clone()).run(Arc::clone(&nudge), stop.clone()));
    skip_until("the eighth call", Duration::from_secs(1), async || {
        // Clients go on to write.
        nudge.notify_one();
        bus.calls().len() == 8
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    let calls = bus.calls();
    let gaps = calls.windows(2).map(|pair| (pair[1] - pair[0]).as_secs());
    let gaps: Vec<u64> = gaps.collect();
    let least = [2, 4, 8, 16, 30, 30, 30];
    let is_slower = gaps.iter().zip(least).all(|(gap, least)| *gap >= least);
    assert!(is_slower && gaps.len() == least.len(), "{gaps:?}");
    assert_eq!(service.count("outbox").await, 1);
}

#[tokio::test]
async fn running_relay_publishes_and_repairs_without_a_nudge() {
    let service = TestService::new().await;
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let stop = CancellationToken::new();
    let running = tokio::spawn(relay(&service, bus).run(Arc::default(), stop.clone()));
    // Whatever was pending at the start is published when the first is.
    for (sku, sent) in [("SHOE-1", 1), ("SHOE-2", 2)] {
        let created = service.create(sku).await;
        eventually("the event", async || (sent_count(&service).await == sent).then_some(())).await;
        if sent == 2 {
            let id = created.json["id"].as_str().unwrap().parse().unwrap();
            service.request_repair(id, 7).await;
        }
    }
    eventually("the repair", async || (sent_count(&service).await == 3).then_some(())).await;
    assert_eq!(service.count("repair_requests").await, 0);
    stop.cancel();
    running.await.unwrap();
}

async fn sent_count(service: &TestService) -> i64 {
    let count = sqlx::query_scalar("select count(*) from bus.messages");
    count.fetch_one(&service.pool).await.unwrap()
}

#[tokio::test]
async fn running_relay_deletes_expired_keys_every_ten_minutes() {
    let service = TestService::new().await;
    let expired_key = async |sku: &'static str| {
        let call = Call::post("/v1/products").json(&shoe(sku)).header("idempotency-key", sku);
        let token = service.tokens.token(service.user_id, Role::Seller);
        call.bearer(&token).send(&service.router).await.expect(201);
        service.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    };
    expired_key("SHOE-1").await;
    let stop = CancellationToken::new();
    let bus = DeadBus::default();
    let running = tokio::spawn(relay(&service, bus).run(Arc::default(), stop.clone()));
    let is_deleted = async || service.count("idempotency").await == 0;
    eventually("the first deletion", async || is_deleted().await.then_some(())).await;
    expired_key("SHOE-2").await;
    let waited = skip_until("the next deletion", Duration::from_secs(20), is_deleted).await;
    // Less than an interval, since it began before the key expired.
    assert!(waited >= Duration::from_mins(9), "{waited:?}");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn event_of_the_future_is_published_when_a_clock_is_set_back() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    set_back(&service.clock, Duration::from_hours(24));
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let relay = relay(&service, bus);
    relay.into_events().drain(std::time::Instant::now()).await.unwrap();
    assert_eq!((sent_count(&service).await, service.count("outbox").await), (1, 0));
    // Writes go on, and versions do not go backwards.
    let changed = service.create("SHOE-2").await;
    assert_eq!(changed.json["created_at"], "2027-01-14T08:00:00Z");
}
