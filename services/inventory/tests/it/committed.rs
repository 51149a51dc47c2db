//! A committed write wakes the relay of its process at once; any other request lets it sleep.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use serde_json::json;
use testkit::{Call, Interference};

use crate::{TestService, path_of, shoe};

/// A request: its route and what it does.
type Request = (&'static str, Call);

/// Whether a request has woken the relay.
async fn wakes(service: &TestService, call: Call, status: u16) -> bool {
    service.send(call).await.expect(status);
    service.committed.notified().now_or_never().is_some()
}

fn adjustment(path: &str, key: &str) -> Call {
    let body = json!({"delta": 1, "reason": "counted"});
    Call::post(&format!("{path}/stock/adjustments")).header("idempotency-key", key).json(&body)
}

fn set_stock(path: &str, on_hand: i64) -> Call {
    let call = Call::put(&format!("{path}/stock")).header("if-match", "*");
    call.json(&json!({"on_hand": on_hand}))
}

fn rename(path: &str, name: &str) -> Call {
    Call::patch(path).header("if-match", "*").json(&json!({"name": name}))
}

/// A write by each route, in an order in which each has something to write.
fn writes(path: &str) -> Vec<Request> {
    let restore = format!("{path}/restore");
    vec![
        ("post /v1/products", Call::post("/v1/products").json(&shoe("NEW"))),
        (
            "post /v1/products/batch",
            Call::post("/v1/products/batch").json(&json!({"items": [shoe("A"), shoe("B")]})),
        ),
        ("patch /v1/products/{id}", rename(path, "Other")),
        ("put /v1/products/{id}/stock", set_stock(path, 8)),
        ("post /v1/products/{id}/stock/adjustments", adjustment(path, "one")),
        ("delete /v1/products/{id}", Call::delete(path).header("if-match", "*")),
        ("post /v1/products/{id}/restore", Call::post(&restore)),
    ]
}

fn status_of(route: &str) -> u16 {
    match route {
        "post /v1/products" => 201,
        "delete /v1/products/{id}" => 204,
        _ => 200,
    }
}

#[tokio::test]
async fn committed_write_of_every_route_wakes_the_relay() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    assert!(service.committed.notified().now_or_never().is_some());
    let mut covered = BTreeSet::new();
    for (route, call) in writes(&path) {
        assert!(wakes(&service, call, status_of(route)).await, "{route}");
        covered.insert(route.to_owned());
    }
    let api = serde_json::to_value(inventory::routes().to_openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        let writes = ["post", "put", "patch", "delete"].into_iter();
        let writes = writes.filter(|method| methods.get(method).is_some());
        described.extend(writes.map(|method| format!("{method} {path}")));
    }
    assert_eq!(covered, described, "every route that writes has a row");
}

#[tokio::test]
async fn change_behind_a_lock_wakes_the_relay() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let restore = format!("{path}/restore");
    for (call, status) in [
        (rename(&path, "Other"), 200),
        (Call::delete(&path).header("if-match", "*"), 204),
        (Call::post(&restore), 200),
    ] {
        service.committed.notified().now_or_never();
        // A change by another process, which has a relay of its own.
        let pool = service.pool.clone();
        let races = Interference::at("change.read", 3, move |_| {
            let pool = pool.clone();
            async move {
                let change = "update inventory.products set version = version + 1";
                sqlx::query(change).execute(&pool).await.unwrap();
            }
            .boxed()
        });
        assert!(wakes(&service, call, status).await);
        assert_eq!(races.take()["change.committed_behind_lock"], 1);
    }
}

#[tokio::test]
async fn request_that_writes_nothing_lets_the_relay_sleep() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    service.send(adjustment(&path, "one")).await.expect(200);
    service.committed.notified().now_or_never();
    let stale = Call::patch(&path).header("if-match", "\"v9\"").json(&json!({"name": "Mine"}));
    for (call, status) in [
        (Call::get(&path), 200),
        (Call::get("/v1/products"), 200),
        (Call::get(&format!("{path}/stock")), 200),
        (adjustment(&path, "one"), 200),
        (rename(&path, "Running shoe"), 200),
        (set_stock(&path, 6), 200),
        (set_stock(&path, -1), 422),
        (Call::post(&format!("{path}/restore")), 200),
        (stale, 412),
        (Call::post("/v1/products").json(&json!({})), 422),
        (Call::post("/v1/products/batch").json(&json!({"items": [{}]})), 200),
    ] {
        let name = format!("{call:?}");
        assert!(!wakes(&service, call, status).await, "{name}");
    }
}
