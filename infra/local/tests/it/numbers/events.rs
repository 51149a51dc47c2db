//! Every attribute of every event, with its value at a moment of its own for each step.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::id::ProductId;
use testkit::{Call, TestResponse};
use uuid::Uuid;

use super::situation::{Clocks, Situation, advance, at, traceparent_of};
use crate::openapi::{OPERATIONS, Operation};

/// A write of a seller, and the event that announces it.
struct Step {
    operation: &'static str,
    event_type: &'static str,
    aggregate: &'static str,
    version: i64,
}

const fn step(
    operation: &'static str,
    event_type: &'static str,
    aggregate: &'static str,
    version: i64,
) -> Step {
    Step { operation, event_type, aggregate, version }
}

/// In this order. Those that name an id are about the last created product.
const STEPS: [Step; 7] = [
    step("POST /v1/products", "ProductCreated", "product", 1),
    step("POST /v1/products/batch", "ProductCreated", "product", 1),
    step("PATCH /v1/products/{id}", "ProductUpdated", "product", 2),
    step("PUT /v1/products/{id}/stock", "StockChanged", "stock", 2),
    step("POST /v1/products/{id}/stock/adjustments", "StockChanged", "stock", 3),
    step("DELETE /v1/products/{id}", "ProductDeleted", "product", 3),
    step("POST /v1/products/{id}/restore", "ProductUpdated", "product", 4),
];

/// Types that this release reads and does not write yet.
const UNWRITTEN: [&str; 0] = [];

/// Moves every clock, so that no two times of a test are equal.
fn advance_all(it: &Situation) {
    let Clocks { request, api, relay, bus, .. } = &it.clocks;
    for clock in [request, api, relay, bus] {
        advance(clock, 60_000);
    }
}

/// Columns of a message: queue, event id, event type, subject, times of sending and of visibility.
type Columns = (String, Uuid, String, Uuid, DateTime<Utc>, DateTime<Utc>);

/// The only message; it is deleted.
async fn take_message(it: &Situation) -> (Value, Columns) {
    let columns = "select queue, event_id, event_type, subject, sent_at, visible_at
                   from bus.messages";
    let columns = sqlx::query_as(columns).fetch_one(&it.database.pool).await.unwrap();
    let body: String = sqlx::query_scalar("delete from bus.messages returning body")
        .fetch_one(&it.database.pool)
        .await
        .unwrap();
    (serde_json::from_str(&body).unwrap(), columns)
}

async fn position(it: &Situation) -> i64 {
    let pointer = sqlx::query_scalar("select position from inventory.outbox");
    pointer.fetch_one(&it.database.pool).await.unwrap()
}

/// Sends the request of a step, and returns the response with the id of its product.
async fn write(it: &Situation, step: &Step, last: Option<ProductId>) -> (TestResponse, ProductId) {
    let product = |sku: &str| {
        json!({
            "sku": sku, "name": "Shoe", "category": "shoes",
            "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
        })
    };
    let body = match step.operation {
        "POST /v1/products" => product("ONE"),
        "POST /v1/products/batch" => json!({"items": [product("TWO")]}),
        "PATCH /v1/products/{id}" => json!({"name": "Other"}),
        "PUT /v1/products/{id}/stock" => json!({"on_hand": 7}),
        "POST /v1/products/{id}/stock/adjustments" => json!({"delta": -2, "reason": "broken"}),
        _ => Value::Null,
    };
    let (method, path) = step.operation.split_once(' ').unwrap();
    let path = last.map_or_else(|| path.to_owned(), |id| path.replace("{id}", &id.to_string()));
    let response = it.sell(Call::new(method.parse().unwrap(), &path), body).await;
    assert!(response.status.is_success(), "{}: {}", step.operation, response.text);
    let created = [&response.json["id"], &response.json["results"][0]["product"]["id"]];
    let created = created.into_iter().find_map(|id| id.as_str()?.parse().ok());
    let id = if step.operation.contains("{id}") { last } else { created };
    (response, id.unwrap())
}

/// The envelope of an event without its data.
fn envelope(event_type: &str, event: Uuid, subject: ProductId, request: Uuid, at_0: i64) -> Value {
    json!({
        "specversion": "1.0", "id": event, "source": "vitrina/inventory", "subject": subject,
        "time": at(at_0 + 250), "schemaversion": 1, "traceparent": traceparent_of(request),
        "requestid": request, "requestedtime": at(at_0), "publishedtime": at(at_0 + 1_500),
        "type": event_type,
    })
}

#[tokio::test]
async fn every_attribute_of_an_event_tells_of_its_own_change() {
    let it = Situation::new().await;
    let (mut product, mut last) = (None, None);
    for (nth, step) in (0..).zip(&STEPS) {
        let Step { event_type, aggregate, version, .. } = *step;
        let (response, id) = write(&it, step, product).await;
        product = Some(id);
        let request: Uuid = response.header("x-request-id").parse().unwrap();
        let event = it.event_id(id, aggregate, version).await;
        let position = position(&it).await;
        it.publish().await;
        let (mut body, columns) = take_message(&it).await;
        let minutes = 60_000 * nth;
        let sent_at = at(minutes + 1_750);
        let (queue, kind) = ("catalog".to_owned(), event_type.to_owned());
        assert_eq!(columns, (queue, event, kind, id.uuid(), sent_at, sent_at));
        let data = body.as_object_mut().unwrap().remove("data").unwrap();
        let carried = if aggregate == "stock" { &data["stock"] } else { &data["product"] };
        assert_eq!(carried["version"], json!(version), "{data}");
        let mut expected = envelope(event_type, event, id, request, minutes);
        expected["position"] = json!(position);
        assert_eq!(body, expected, "{}", step.operation);
        last = Some((id, expected, data));
        advance_all(&it);
    }
    // A repair announces the same change again: later, and at a later position.
    let (id, mut expected, data) = last.unwrap();
    let again = "select inventory.republish($1, array[0], array[null]::bigint[], '2027-01-01Z')";
    it.execute_for(again, &[id]).await;
    let later = position(&it).await;
    assert!(expected["position"].as_i64().unwrap() < later, "{later}");
    it.publish().await;
    let (mut body, _) = take_message(&it).await;
    assert_eq!(body.as_object_mut().unwrap().remove("data"), Some(data));
    let steps = 60_000 * i64::try_from(STEPS.len()).unwrap();
    expected["position"] = json!(later);
    expected["publishedtime"] = json!(at(steps + 1_500));
    expected["republished"] = json!(true);
    assert_eq!(body, expected);
}

#[test]
fn every_write_of_a_seller_and_every_event_type_has_a_step() {
    let covered: BTreeSet<&str> =
        STEPS.iter().map(|step| step.event_type).chain(UNWRITTEN).collect();
    let types: BTreeSet<&str> = Event::TYPES.iter().copied().collect();
    assert_eq!(covered, types, "give each type a step");
    let covered: BTreeSet<String> = STEPS.iter().map(|step| step.operation.to_owned()).collect();
    let is_write = |operation: &&Operation| {
        operation.method != "GET" && operation.path.starts_with("/v1/products")
    };
    let writes: BTreeSet<String> =
        OPERATIONS.iter().filter(is_write).map(Operation::name).collect();
    assert_eq!(covered, writes, "give each write a step");
}

#[tokio::test]
async fn repair_dates_its_event_by_its_own_commit() {
    let it = Situation::new().await;
    let id = it.create(0).await;
    it.publish().await;
    take_message(&it).await;
    it.execute(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         select id, 'product', 7, '2026-01-01Z' from inventory.products",
    )
    .await;
    advance(&it.clocks.relay, 30_000);
    it.repair().await;
    advance(&it.clocks.relay, 5_000);
    let (event, position) = (it.event_id(id, "product", 8).await, position(&it).await);
    it.publish().await;
    let (mut body, _) = take_message(&it).await;
    let data = body.as_object_mut().unwrap().remove("data").unwrap();
    assert_eq!(data["product"]["version"], json!(8), "{data}");
    let request: Uuid = body["requestid"].as_str().unwrap().parse().unwrap();
    let mut expected = envelope("ProductUpdated", event, id, request, 0);
    let trace = format!("00-{}-{}-01", request.simple(), &request.simple().to_string()[16..]);
    for (name, value) in [
        ("time", json!(at(31_500))),
        ("requestedtime", json!(at(31_500))),
        ("publishedtime", json!(at(36_500))),
        ("position", json!(position)),
        ("traceparent", json!(trace)),
    ] {
        expected[name] = value;
    }
    assert_eq!(body, expected);
}
