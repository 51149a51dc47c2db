//! Every column of every table, with its value: whatever is written is read back here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use inventory::App;
use inventory::relay::Relay;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::bus::postgres::PgBus;
use shared::clock::Clock;
use shared::contract::routes::ROUTES;
use shared::host::server::with_standard_layers;
use shared::id::Ids;
use testkit::{Call, PATIENT_RELAY, TestResponse, hex, rows};

use crate::{TestService, shoe};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Between the arrival of a request and its decision.
const DELAY: Duration = Duration::from_millis(7);

async fn delay(State(clock): State<Clock>, request: Request, next: Next) -> Response {
    clock.advance(DELAY);
    next.run(request).await
}

/// The API, in which each request takes [`DELAY`].
fn slow_api(service: &TestService) -> Router {
    let (clock, ids) = (&service.clock, Ids::seeded(3));
    let verifier = service.tokens.verifier();
    let app = App::new(service.pool.clone(), clock, &ids, verifier, Arc::default());
    let api = inventory::router(app).layer(from_fn_with_state(clock.clone(), delay));
    with_standard_layers(api, clock, &ids)
}

/// Expects that a trace belongs to the client's, in a span of the request.
fn assert_traced(journal: &Value, response: &TestResponse) {
    let request_id = response.header("x-request-id").replace('-', "");
    let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", &request_id[16..]);
    assert_eq!(journal["traceparent"], expected);
    assert_eq!(journal["request_id"], response.header("x-request-id"));
}

#[tokio::test]
async fn every_column_of_a_product_is_read_back() {
    let service = TestService::new().await;
    let api = slow_api(&service);
    let send = async |call: Call| {
        let call = call.bearer(&service.seller).header("traceparent", TRACEPARENT);
        call.send(&api).await
    };
    let mut body = shoe("SHOE-1");
    body["description"] = json!("Light");
    let call = Call::post("/v1/products").json(&body).header("idempotency-key", "first");
    let created = send(call).await.expect(201);
    service.clock.advance(Duration::from_mins(1));
    let path = created.header("location");
    let patch = json!({"name": "Trail shoe", "price": {"amount": 9990}, "status": "archived"});
    let changed = send(Call::patch(path).json(&patch).header("if-match", "*")).await.expect(200);
    service.clock.advance(Duration::from_mins(1));
    let adjustment = json!({"delta": -2, "reason": "broken"});
    let call = Call::post(&format!("{path}/stock/adjustments")).json(&adjustment);
    let adjusted = send(call.header("idempotency-key", "second")).await.expect(200);

    let (id, user) = (&created.json["id"], service.user_id);
    let at = [
        "2027-01-15T08:00:00.007+00:00",
        "2027-01-15T08:01:00.014+00:00",
        "2027-01-15T08:02:00.021+00:00",
    ];
    let requested = [
        "2027-01-15T08:00:00+00:00",
        "2027-01-15T08:01:00.007+00:00",
        "2027-01-15T08:02:00.014+00:00",
    ];
    let product = json!({
        "id": id, "seller_id": service.seller_id, "sku": "SHOE-1", "name": "Trail shoe",
        "description": "Light", "category": "shoes", "attributes": body["attributes"],
        "amount": 9990, "currency": "BRL", "status": "archived", "version": 2,
        "content_hash": changed.json["content_hash"], "created_at": at[0], "updated_at": at[1],
        "deleted_at": null,
    });
    assert_eq!(rows(&service.pool, "inventory.products", "id").await, [product]);
    let stock = json!({
        "product_id": id, "on_hand": 3, "held": 0, "version": 2, "updated_at": at[2],
    });
    assert_eq!(rows(&service.pool, "inventory.stock", "product_id").await, [stock]);

    let journal = rows(&service.pool, "inventory.journal", "committed_at").await;
    for (entry, response) in journal.iter().zip([&created, &changed, &adjusted]) {
        assert_traced(entry, response);
    }
    let entry = |nth: usize, aggregate: &str, version: i64, change: &str, event: Value| {
        json!({
            "aggregate": aggregate, "aggregate_id": id, "version": version, "change": change,
            "event": event, "actor": user, "reason": if nth == 2 { json!("broken") } else { Value::Null },
            "requested_at": requested[nth], "committed_at": at[nth],
            // Compared above, and with the published events.
            "event_id": journal[nth]["event_id"], "request_id": journal[nth]["request_id"],
            "traceparent": journal[nth]["traceparent"],
        })
    };
    let first_stock = json!({
        "on_hand": 5, "held": 0, "version": 1, "updated_at": created.json["updated_at"],
    });
    let create = json!({"type": "ProductCreated",
        "data": {"product": created.json, "stock": first_stock}});
    let change = json!({"type": "ProductUpdated", "data": {"product": changed.json}});
    let sold = json!({"type": "StockChanged", "data": {"stock": {
        "on_hand": 3, "held": 0, "version": 2, "updated_at": "2027-01-15T08:02:00.021Z",
    }}});
    assert_eq!(
        journal,
        [
            entry(0, "product", 1, "created", create),
            entry(1, "product", 2, "updated", change),
            entry(2, "stock", 2, "adjusted", sold),
        ]
    );
    let pointer = |nth: usize, aggregate: &str, version: i64| {
        json!({
            "position": nth + 1, "aggregate": aggregate, "aggregate_id": id, "version": version,
            "committed_at": at[nth], "not_before": null,
        })
    };
    assert_eq!(
        rows(&service.pool, "inventory.outbox", "position").await,
        [pointer(0, "product", 1), pointer(1, "product", 2), pointer(2, "stock", 2)]
    );

    let hash = |bytes: &[u8]| format!("\\x{}", hex(&Sha256::digest(bytes)));
    let id_bytes = id.as_str().unwrap().parse::<uuid::Uuid>().unwrap();
    let adjustment = [id_bytes.as_bytes().as_slice(), adjustment.to_string().as_bytes()].concat();
    let key = |route: &str, key: &str, hash: String, version: i64, created_at: &str| {
        json!({
            "subject": user, "route": route, "key": key, "request_hash": hash,
            "aggregate_id": id, "version": version, "created_at": created_at,
        })
    };
    assert_eq!(
        rows(&service.pool, "inventory.idempotency", "created_at").await,
        [
            key("create_product", "first", hash(body.to_string().as_bytes()), 1, at[0]),
            key("adjust_stock", "second", hash(&adjustment), 2, at[2]),
        ]
    );
}

#[tokio::test]
async fn every_column_of_a_deleted_product_is_read_back() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    service.clock.advance(Duration::from_mins(1));
    let call = Call::delete(created.header("location")).header("if-match", "\"v1\"");
    let deleted = service.send(call).await.expect(204);
    let products = rows(&service.pool, "inventory.products", "id").await;
    let at = "2027-01-15T08:01:00+00:00";
    assert_eq!((&products[0]["deleted_at"], &products[0]["updated_at"]), (&json!(at), &json!(at)));
    assert_eq!(products[0]["created_at"], "2027-01-15T08:00:00+00:00");
    let journal = &rows(&service.pool, "inventory.journal", "version").await[1];
    assert_eq!(
        (&journal["change"], &journal["actor"]),
        (&json!("deleted"), &json!(service.user_id))
    );
    assert_eq!(journal["request_id"], deleted.header("x-request-id"));
    // Without a client's trace, the trace is named after the request.
    let trace = deleted.header("x-request-id").replace('-', "");
    assert_eq!(journal["traceparent"], format!("00-{trace}-{}-01", &trace[16..]));
}

#[tokio::test]
async fn every_column_of_a_repair_is_read_back() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let (id, pool) = (&created.json["id"], &service.pool);
    sqlx::query("select inventory.republish(array[$1], array[7], array[null::bigint], $2)")
        .bind(id.as_str().unwrap().parse::<uuid::Uuid>().unwrap())
        .bind(service.clock.now())
        .execute(pool)
        .await
        .unwrap();
    let request = json!({
        "product_id": id, "part": "product", "seen_version": 7,
        "requested_at": "2027-01-15T08:00:00+00:00", "not_before": null,
    });
    assert_eq!(
        rows(pool, "inventory.repair_requests", "part").await,
        std::slice::from_ref(&request)
    );

    // A repair of its own fault is postponed.
    let spoil =
        "alter table inventory.journal add constraint refused check (version < 8) not valid";
    sqlx::query(spoil).execute(pool).await.unwrap();
    let bus = PgBus::new(pool.clone(), service.clock.clone(), &[]);
    let relay = Relay::new(pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
        .with_timeouts(PATIENT_RELAY);
    service.clock.advance(Duration::from_mins(1));
    relay.repair().await.unwrap();
    let mut postponed = request.clone();
    postponed["not_before"] = json!("2027-01-15T08:01:30+00:00");
    assert_eq!(rows(pool, "inventory.repair_requests", "part").await, [postponed]);

    sqlx::query("alter table inventory.journal drop constraint refused")
        .execute(pool)
        .await
        .unwrap();
    service.clock.advance(Duration::from_secs(30));
    relay.repair().await.unwrap();
    assert_eq!(rows(pool, "inventory.repair_requests", "part").await, [Value::Null; 0]);
    let journal = &rows(pool, "inventory.journal", "version").await[1];
    assert_eq!((&journal["version"], &journal["change"]), (&json!(8), &json!("repaired")));
    // No user asked for it.
    assert_eq!(journal["actor"], uuid::Uuid::nil().to_string());
    assert_eq!(journal["committed_at"], "2027-01-15T08:01:30+00:00");
}

#[tokio::test]
async fn every_attribute_of_an_event_is_read_back() {
    let service = TestService::new().await;
    let api = slow_api(&service);
    let call = Call::post("/v1/products").json(&shoe("SHOE-1")).bearer(&service.seller);
    let created = call.header("traceparent", TRACEPARENT).send(&api).await.expect(201);
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
        .with_timeouts(PATIENT_RELAY);
    service.clock.advance(Duration::from_mins(1));
    relay.once().await.unwrap();
    let stored = rows(&service.pool, "inventory.journal", "version").await.remove(0);
    assert_traced(&stored, &created);
    let mut event = json!({
        "specversion": "1.0", "id": stored["event_id"], "source": "vitrina/inventory",
        "subject": created.json["id"], "time": "2027-01-15T08:00:00.007Z", "schemaversion": 1,
        "traceparent": stored["traceparent"], "requestid": created.header("x-request-id"),
        "requestedtime": "2027-01-15T08:00:00Z", "publishedtime": "2027-01-15T08:01:00.007Z",
        "position": 1, "type": "ProductCreated", "data": stored["event"]["data"],
    });
    let published = async || -> Vec<Value> {
        let messages = rows(&service.pool, "bus.messages", "id").await.into_iter();
        messages.map(|row| serde_json::from_str(row["body"].as_str().unwrap()).unwrap()).collect()
    };
    assert_eq!(published().await, [event.clone()]);
    // Announced again, it is the same event at another position.
    sqlx::query("select inventory.republish(array[$1], array[0], array[null::bigint], $2)")
        .bind(created.json["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap())
        .bind(service.clock.now())
        .execute(&service.pool)
        .await
        .unwrap();
    service.clock.advance(Duration::from_mins(1));
    relay.once().await.unwrap();
    event["publishedtime"] = json!("2027-01-15T08:02:00.007Z");
    event["position"] = json!(2);
    event["republished"] = json!(true);
    assert_eq!(published().await[1], event);
}

#[tokio::test]
async fn every_header_of_a_problem_is_read_back() {
    let service = TestService::new().await;
    let wrong = service.send(Call::put("/v1/products")).await.expect(405);
    let anonymous = Call::get("/v1/products").send(&service.router).await.expect(401);
    for problem in [&wrong, &anonymous] {
        assert_eq!(problem.header("content-type"), "application/problem+json");
        assert_eq!(problem.header("cache-control"), "no-store");
        assert_eq!(problem.json["request_id"], problem.header("x-request-id"));
        assert_eq!(problem.header("x-request-id").len(), 36);
    }
    let mut allowed: Vec<&str> = wrong.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    assert_eq!(wrong.header("www-authenticate"), "");
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
    assert_eq!((anonymous.header("allow"), anonymous.header("retry-after")), ("", ""));
}
