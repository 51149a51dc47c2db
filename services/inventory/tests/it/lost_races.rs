//! Changes that lose races against other clients: what they write, and how many rounds they take.

use std::sync::Arc;

use axum::Router;
use futures::FutureExt as _;
use inventory::relay::Relay;
use serde_json::{Value, json};
use shared::bus::postgres::PgBus;
use shared::contract::routes::ROUTES;
use shared::host::tick::Progress;
use shared::id::Ids;
use sqlx::Row as _;
use testkit::{Call, Interference, PATIENT_RELAY, TestResponse, locks_are_awaited, rows, within};

use crate::{TestService, path_of};

/// Lets another client of the same seller send `call` before each of the first `times` writes.
fn other_client(
    service: &TestService,
    times: u32,
    call: impl Fn(u32) -> Call + Send + Sync + 'static,
) -> Arc<Interference> {
    let (router, token): (Router, String) = (service.router.clone(), service.seller.clone());
    Interference::at("change.read", times, move |pass| {
        let (router, call) = (router.clone(), call(pass).bearer(&token));
        async move {
            let sent = call.send(&router).await;
            assert!(sent.status.is_success(), "{}", sent.text);
        }
        .boxed()
    })
}

/// A change of the price of a product to the number of the pass.
fn new_price(path: &str) -> impl Fn(u32) -> Call + Send + Sync + use<> {
    let path = path.to_owned();
    move |pass| {
        let price = json!({"price": {"amount": pass}});
        Call::patch(&path).header("if-match", "*").json(&price)
    }
}

async fn rename(service: &TestService, path: &str, version: &str) -> TestResponse {
    let call = Call::patch(path).header("if-match", version).json(&json!({"name": "Mine"}));
    service.send(call).await
}

/// A version of a product as the journal has it, without what is different in every entry, and whether
/// the outbox points at it.
async fn journal(service: &TestService, version: i64) -> (Value, String, bool) {
    let statement = "select change, event, actor, reason, request_id, j.committed_at,
                            exists (select from inventory.outbox o
                                    where o.aggregate_id = j.aggregate_id
                                      and o.version = j.version) as is_pending
                     from inventory.journal j where aggregate = 'product' and version = $1";
    let row = sqlx::query(statement).bind(version).fetch_one(&service.pool).await.unwrap();
    assert_eq!(row.get::<uuid::Uuid, _>("actor"), service.user_id.uuid());
    assert_eq!(row.get::<Option<String>, _>("reason"), None);
    assert_eq!(row.get::<chrono::DateTime<chrono::Utc>, _>("committed_at"), service.clock.now());
    let request_id: uuid::Uuid = row.get("request_id");
    let event: Value = row.get("event");
    let summary = json!({"change": row.get::<String, _>("change"), "event": event});
    (summary, request_id.to_string(), row.get("is_pending"))
}

#[tokio::test]
async fn change_that_loses_two_races_is_made_in_the_third_round() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let races = other_client(&service, 2, new_price(&path));
    let changed = rename(&service, &path, "*").await.expect(200);
    let passed = races.take();
    assert_eq!(passed["change.read"], 3);
    assert_eq!(passed["change.committed"], 1);
    assert!(!passed.contains_key("change.locked"), "{passed:?}");
    assert_eq!((&changed.json["name"], &changed.json["version"]), (&json!("Mine"), &json!(4)));
    assert_eq!(changed.json["price"]["amount"], 2, "the other client's change is kept");
}

#[tokio::test]
async fn change_that_loses_three_races_is_made_behind_a_lock() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let races = other_client(&service, 10, new_price(&path));
    let changed = rename(&service, &path, "*").await.expect(200);
    let passed = races.take();
    assert_eq!(passed["change.read"], 3, "three races are lost, and no more");
    for point in ["change.locked", "change.written_behind_lock", "change.committed_behind_lock"] {
        assert_eq!(passed[point], 1, "{point}");
    }
    assert!(!passed.contains_key("change.committed"), "{passed:?}");
    assert_eq!(changed.header("etag"), "\"v5\"");
    assert_eq!((&changed.json["name"], &changed.json["version"]), (&json!("Mine"), &json!(5)));
    assert_eq!(changed.json["price"]["amount"], 3, "the other client's changes are kept");
    // It writes what any change writes: row, journal and outbox.
    let shown = service.send(Call::get(&path)).await.expect(200);
    assert_eq!(shown.json, changed.json);
    let (behind_lock, request_id, is_pending) = journal(&service, 5).await;
    assert_eq!(behind_lock["change"], journal(&service, 4).await.0["change"]);
    assert_eq!(behind_lock["event"]["type"], "ProductUpdated");
    assert_eq!(behind_lock["event"]["data"]["product"], changed.json);
    assert_eq!(request_id, changed.header("x-request-id"));
    assert!(is_pending, "it is not announced");
    assert_eq!((service.count("journal").await, service.count("outbox").await), (5, 5));
}

#[tokio::test]
async fn change_of_one_version_is_refused_after_one_lost_race() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let races = other_client(&service, 10, new_price(&path));
    let refused = rename(&service, &path, "\"v1\"").await.expect(412);
    assert_eq!(refused.code(), "stale_version");
    assert_eq!(races.take()["change.read"], 1);
    assert_eq!(service.count("journal").await, 2);
}

/// What the other client does in the third round; before, it changes the price.
async fn third_race(
    method: fn(&str) -> Call,
    body: Value,
    tested: impl AsyncFnOnce(&TestService, &str) -> TestResponse,
) -> (TestService, TestResponse) {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let (price, other) = (new_price(&path), path.clone());
    let races = other_client(&service, 3, move |pass| match pass {
        3 => method(&other).header("if-match", "*").json(&body),
        _ => price(pass),
    });
    let response = tested(&service, &path).await;
    let passed = races.take();
    assert_eq!((passed["change.read"], passed["change.locked"]), (3, 1));
    (service, response)
}

#[tokio::test]
async fn product_deleted_in_the_third_race_is_not_found() {
    let tested = async |service: &TestService, path: &str| rename(service, path, "*").await;
    let (service, response) = third_race(Call::delete, Value::Null, tested).await;
    response.expect(404);
    assert_eq!((service.count("journal").await, service.count("outbox").await), (4, 4));
}

#[tokio::test]
async fn change_that_another_client_made_meets_no_second_write() {
    let tested = async |service: &TestService, path: &str| rename(service, path, "*").await;
    let same = json!({"name": "Mine"});
    let (service, response) = third_race(Call::patch, same, tested).await;
    assert_eq!(response.expect(200).json["version"], 4);
    assert_eq!((service.count("journal").await, service.count("outbox").await), (4, 4));
}

#[tokio::test]
async fn deletion_that_loses_three_races_is_made_behind_a_lock() {
    let tested = async |service: &TestService, path: &str| {
        service.send(Call::delete(path).header("if-match", "*")).await
    };
    let price = json!({"price": {"amount": 3}});
    let (service, response) = third_race(Call::patch, price, tested).await;
    response.expect(204);
    let (written, ..) = journal(&service, 5).await;
    assert_eq!(written["event"]["type"], "ProductDeleted");
    assert_eq!(written["event"]["data"]["product"]["price"]["amount"], 3);
}

#[tokio::test]
async fn restore_that_loses_three_races_announces_its_stock_again() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let delete = |path: &str| Call::delete(path).header("if-match", "*");
    service.send(delete(&path)).await.expect(204);
    let (router, token, other) = (service.router.clone(), service.seller.clone(), path.clone());
    let races = Interference::at("change.read", 3, move |_| {
        let calls = [Call::post(&format!("{other}/restore")), delete(&other)];
        let (router, token) = (router.clone(), token.clone());
        async move {
            for call in calls {
                let sent = call.bearer(&token).send(&router).await;
                assert!(sent.status.is_success(), "{}", sent.text);
            }
        }
        .boxed()
    });
    let restored = service.send(Call::post(&format!("{path}/restore"))).await.expect(200);
    let passed = races.take();
    assert_eq!((passed["change.read"], passed["change.locked"]), (3, 1));
    assert_eq!(restored.json["version"], 9);
    let announced = rows(&service.pool, "inventory.outbox", "position").await;
    let announced = announced.iter().map(|row| (&row["aggregate"], &row["version"]));
    let announced: Vec<_> = announced.collect();
    // The first version of a stock travels with its product.
    let last = [(&json!("product"), &json!(9)), (&json!("product"), &json!(1))];
    assert_eq!(announced[announced.len() - 2..], last, "{announced:?}");
}

#[tokio::test]
async fn key_used_for_another_product_during_an_adjustment_is_refused() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let other = service.create("SHOE-2").await.json["id"].as_str().unwrap().to_owned();
    let mut other_request = service.pool.begin().await.unwrap();
    sqlx::query(
        "insert into inventory.idempotency
             (subject, route, key, request_hash, aggregate_id, version, created_at)
         values ($1, 'adjust_stock', 'k1', 'another body', $2::uuid, 1, $3)",
    )
    .bind(service.user_id)
    .bind(&other)
    .bind(service.clock.now())
    .execute(&mut *other_request)
    .await
    .unwrap();
    let passed = Interference::none();
    let adjustment = json!({"delta": -2, "reason": "broken"});
    let call = Call::post(&format!("{path}/stock/adjustments")).json(&adjustment);
    let adjusting = service.send(call.header("idempotency-key", "k1"));
    let committing = async {
        locks_are_awaited(&service.pool, 1).await;
        other_request.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(adjusting, committing);
    assert_eq!(refused.expect(422).code(), "idempotency_key_reused");
    assert_eq!(passed.take()["adjust_stock.written"], 1, "it got as far as the key");
    // Nothing was adjusted, recorded or announced.
    let stock = service.send(Call::get(&format!("{path}/stock"))).await.expect(200);
    assert_eq!((&stock.json["on_hand"], &stock.json["version"]), (&json!(5), &json!(1)));
    assert_eq!((service.count("journal").await, service.count("outbox").await), (2, 2));
}

#[tokio::test]
async fn event_that_another_relay_claims_is_skipped() {
    let service = TestService::new().await;
    for sku in ["SHOE-1", "SHOE-2"] {
        service.create(sku).await;
    }
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
        .with_timeouts(PATIENT_RELAY);
    let mut other = service.pool.begin().await.unwrap();
    let lock = "select 1 from inventory.outbox order by position limit 1 for update";
    sqlx::query(lock).execute(&mut *other).await.unwrap();
    let left = async || rows(&service.pool, "inventory.outbox", "position").await;
    let claimed = left().await.remove(0);
    // It does not wait for the other relay, which may take as long as its bus.
    within("the relay", relay.once()).await.unwrap();
    assert_eq!(left().await, [claimed]);
    other.rollback().await.unwrap();
    relay.once().await.unwrap();
    assert_eq!(left().await, Vec::<Value>::new());
}

#[tokio::test]
async fn repair_of_a_stock_waits_for_its_adjustment() {
    let service = TestService::new().await;
    let id = service.create("SHOE-1").await.json["id"].as_str().unwrap().parse().unwrap();
    let request = "insert into inventory.repair_requests
                       (product_id, part, seen_version, requested_at) values ($1, 'stock', 7, $2)";
    let request = sqlx::query(request).bind(id).bind(service.clock.now());
    let id: shared::id::ProductId = id;
    request.execute(&service.pool).await.unwrap();
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
        .with_timeouts(PATIENT_RELAY);
    let mut adjustment = service.pool.begin().await.unwrap();
    let adjust = "update inventory.stock set on_hand = 9 where product_id = $1";
    sqlx::query(adjust).bind(id).execute(&mut *adjustment).await.unwrap();
    let committing = async {
        locks_are_awaited(&service.pool, 1).await;
        adjustment.commit().await.unwrap();
    };
    let (repaired, ()) = tokio::join!(relay.repair(), committing);
    assert_eq!(repaired.unwrap(), Progress::More);
    // It announces the stock that was adjusted in the meantime.
    let announced = "select event->'data'->'stock'->>'on_hand', version from inventory.journal
                     where aggregate = 'stock' order by version desc limit 1";
    let announced: (String, i64) =
        sqlx::query_as(announced).fetch_one(&service.pool).await.unwrap();
    assert_eq!(announced, ("9".to_owned(), 8));
}

#[tokio::test]
async fn repair_that_another_relay_does_is_skipped() {
    let service = TestService::new().await;
    let mut ids = Vec::new();
    for sku in ["SHOE-1", "SHOE-2"] {
        let id: shared::id::ProductId =
            service.create(sku).await.json["id"].as_str().unwrap().parse().unwrap();
        service.request_repair(id, 7).await;
        ids.push(id);
    }
    let bus = PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES);
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2))
        .with_timeouts(PATIENT_RELAY);
    let mut other = service.pool.begin().await.unwrap();
    let lock = "select 1 from inventory.repair_requests where product_id = $1 for update";
    sqlx::query(lock).bind(ids[0]).execute(&mut *other).await.unwrap();
    let progress = [relay.repair().await.unwrap(), relay.repair().await.unwrap()];
    assert_eq!(progress, [Progress::More, Progress::Idle]);
    let left = rows(&service.pool, "inventory.repair_requests", "product_id").await;
    assert_eq!((left.len(), &left[0]["product_id"]), (1, &json!(ids[0])));
    other.rollback().await.unwrap();
    assert_eq!(relay.repair().await.unwrap(), Progress::More);
    assert_eq!(service.count("repair_requests").await, 0);
}
