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

/// What a step of the test makes happen, and the event that announces it.
struct Step {
    event_type: &'static str,
    aggregate: &'static str,
    version: i64,
}

const fn step(event_type: &'static str, aggregate: &'static str, version: i64) -> Step {
    Step { event_type, aggregate, version }
}

const STEPS: [Step; 5] = [
    step("ProductCreated", "product", 1),
    step("ProductUpdated", "product", 2),
    step("StockChanged", "stock", 2),
    step("ProductDeleted", "product", 3),
    step("ProductUpdated", "product", 4),
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

/// Makes the change of a step. The first creates the product.
async fn make(it: &Situation, nth: usize, id: Option<ProductId>) -> TestResponse {
    let path = |end: &str| format!("/v1/products/{}{end}", id.unwrap());
    let product = json!({
        "sku": "SKU", "name": "Shoe", "category": "shoes",
        "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
    });
    let (call, body, status) = match nth {
        0 => (Call::post("/v1/products"), product, 201),
        1 => (Call::patch(&path("")), json!({"name": "Other"}), 200),
        2 => (Call::put(&path("/stock")), json!({"on_hand": 7}), 200),
        3 => (Call::delete(&path("")), Value::Null, 204),
        _ => (Call::post(&path("/restore")), Value::Null, 200),
    };
    it.sell(call, body).await.expect(status)
}

#[tokio::test]
async fn every_attribute_of_an_event_tells_of_its_own_change() {
    let it = Situation::new().await;
    let (mut product, mut last) = (None, None);
    for (nth, Step { event_type, aggregate, version }) in STEPS.into_iter().enumerate() {
        let response = make(&it, nth, product).await;
        let request: Uuid = response.header("x-request-id").parse().unwrap();
        let id =
            *product.get_or_insert_with(|| response.json["id"].as_str().unwrap().parse().unwrap());
        let event = it.event_id(id, aggregate, version).await;
        let position = position(&it).await;
        it.publish().await;
        let (mut body, columns) = take_message(&it).await;
        let minutes = 60_000 * i64::try_from(nth).unwrap();
        let sent_at = at(minutes + 1_750);
        let (queue, kind) = ("catalog".to_owned(), event_type.to_owned());
        assert_eq!(columns, (queue, event, kind, id.uuid(), sent_at, sent_at));
        let data = body.as_object_mut().unwrap().remove("data").unwrap();
        let carried = if aggregate == "stock" { &data["stock"] } else { &data["product"] };
        assert_eq!(carried["version"], json!(version), "{data}");
        let envelope = json!({
            "specversion": "1.0", "id": event, "source": "vitrina/inventory", "subject": id,
            "time": at(minutes + 250), "schemaversion": 1,
            "traceparent": traceparent_of(request), "requestid": request,
            "requestedtime": at(minutes), "publishedtime": at(minutes + 1_500),
            "position": position, "type": event_type,
        });
        assert_eq!(body, envelope);

        last = Some((id, envelope, data));
        advance_all(&it);
    }
    // A repair announces the same change again: later, and at a later position.
    let (id, mut envelope, data) = last.unwrap();
    let again = "select inventory.republish($1, array[0], array[null]::bigint[], '2027-01-01Z')";
    it.execute_for(again, &[id]).await;
    let later = position(&it).await;
    assert!(envelope["position"].as_i64().unwrap() < later, "{later}");
    it.publish().await;
    let (mut body, _) = take_message(&it).await;
    assert_eq!(body.as_object_mut().unwrap().remove("data"), Some(data));
    let steps = 60_000 * i64::try_from(STEPS.len()).unwrap();
    envelope["position"] = json!(later);
    envelope["publishedtime"] = json!(at(steps + 1_500));
    envelope["republished"] = json!(true);
    assert_eq!(body, envelope);

    let covered: BTreeSet<&str> =
        STEPS.iter().map(|step| step.event_type).chain(UNWRITTEN).collect();
    let types: BTreeSet<&str> = Event::TYPES.iter().copied().collect();
    assert_eq!(covered, types, "give each type a step");
}
