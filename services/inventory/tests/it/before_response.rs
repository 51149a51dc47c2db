//! Publishing before the response, as a function does.

use std::time::Duration;

use axum::Router;
use inventory::relay::Relay;
use shared::bus::Publish;
use shared::bus::postgres::PgBus;
use shared::contract::routes::ROUTES;
use shared::id::Ids;
use shared::outbox::{RelayTimeouts, publish_before_responses};
use testkit::{Call, PATIENT_RELAY, SilentBus, within};

use crate::{TestService, path_of, shoe};

/// The API, which publishes to `bus` before it responds.
fn publishing(service: &TestService, bus: impl Publish, timeouts: RelayTimeouts) -> Router {
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2));
    let relay = relay.with_timeouts(timeouts).into_events();
    publish_before_responses(service.router.clone(), relay)
}

fn messages(service: &TestService) -> PgBus {
    PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES)
}

#[tokio::test]
async fn write_is_published_before_its_response() {
    let service = TestService::new().await;
    let api = publishing(&service, messages(&service), PATIENT_RELAY);
    let call = Call::post("/v1/products").json(&shoe("SHOE-1")).bearer(&service.seller);
    let created = call.send(&api).await.expect(201);
    assert_eq!(service.count("outbox").await, 0);
    let call = Call::delete(&path_of(&created)).header("if-match", "\"v1\"");
    call.bearer(&service.seller).send(&api).await.expect(204);
    assert_eq!(service.count("outbox").await, 0);
    let types: Vec<String> = sqlx::query_scalar("select event_type from bus.messages order by id")
        .fetch_all(&service.pool)
        .await
        .unwrap();
    assert_eq!(types, ["ProductCreated", "ProductDeleted"]);
}

#[tokio::test]
async fn read_and_refused_write_publish_nothing() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    let api = publishing(&service, messages(&service), PATIENT_RELAY);
    Call::get("/v1/products").bearer(&service.seller).send(&api).await.expect(200);
    Call::post("/v1/products").json(&shoe("SHOE-2")).send(&api).await.expect(401);
    assert_eq!(service.count("outbox").await, 1, "the event of the first product");
}

#[tokio::test]
async fn silent_bus_holds_up_no_response_and_loses_no_event() {
    let service = TestService::new().await;
    // The relay alone would wait for ever.
    let timeouts = RelayTimeouts { response: Duration::from_millis(1), ..PATIENT_RELAY };
    let api = publishing(&service, SilentBus::default(), timeouts);
    for sku in ["SHOE-1", "SHOE-2"] {
        let call = Call::post("/v1/products").json(&shoe(sku)).bearer(&service.seller);
        within("the response", call.send(&api)).await.expect(201);
    }
    assert_eq!(service.count("outbox").await, 2);
}
