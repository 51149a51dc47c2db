use futures::future::join_all;
use serde_json::json;
use testkit::{Call, TestResponse, locks_are_awaited};

use crate::{TestService, assert_problem, path_of};

/// The responses to requests that all wait for the stock before the first of them gets it.
async fn at_once<const N: usize>(
    service: &TestService,
    requests: [impl Future<Output = TestResponse>; N],
) -> Vec<TestResponse> {
    let mut held = service.pool.begin().await.unwrap();
    sqlx::query("select 1 from inventory.stock for update").execute(&mut *held).await.unwrap();
    let release = async {
        locks_are_awaited(&service.pool, N.try_into().unwrap()).await;
        held.rollback().await.unwrap();
    };
    tokio::join!(join_all(requests), release).0
}

#[tokio::test]
async fn concurrent_adjustments_all_count() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = format!("{}/stock/adjustments", path_of(&created));
    let adjust = |delta: i64| {
        service.send(Call::post(&path).json(&json!({"delta": delta, "reason": "counted"})))
    };
    for response in at_once(&service, [1, 2, 3, -4, 10].map(adjust)).await {
        assert_eq!(response.status, 200, "{}", response.text);
    }
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await;
    assert_eq!(stock.json["on_hand"], 17);
    assert_eq!(stock.json["version"], 6);
}

#[tokio::test]
async fn retried_adjustment_with_a_key_counts_once() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = format!("{}/stock/adjustments", path_of(&created));
    let adjust = |delta: i64| {
        let body = json!({"delta": delta, "reason": "counted"});
        service.send(Call::post(&path).header("idempotency-key", "k1").json(&body))
    };
    let first = adjust(4).await.expect(200);
    let again = adjust(4).await.expect(200);
    assert_eq!(again.json, first.json);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(adjust(5).await.expect(422).code(), "idempotency_key_reused");
    let together = tokio::join!(adjust(4), adjust(4), adjust(4));
    assert_eq!(together.0.json, first.json);
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await;
    assert_eq!(stock.json["on_hand"], 9);
}

#[tokio::test]
async fn key_of_an_adjustment_is_refused_for_another_product() {
    let service = TestService::new().await;
    let (one, other) = (service.create("SHOE-1").await, service.create("SHOE-2").await);
    let adjust = |product| {
        let body = json!({"delta": 4, "reason": "counted"});
        let path = format!("{}/stock/adjustments", path_of(product));
        service.send(Call::post(&path).header("idempotency-key", "k1").json(&body))
    };
    adjust(&one).await.expect(200);
    assert_eq!(adjust(&other).await.expect(422).code(), "idempotency_key_reused");
}

#[tokio::test]
async fn adjustment_out_of_range_is_refused() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = format!("{}/stock/adjustments", path_of(&created));
    for delta in [-6, 1_000_000_000, i64::MAX, i64::MIN] {
        let body = json!({"delta": delta, "reason": "typo"});
        let refused = service.send(Call::post(&path).json(&body)).await.expect(409);
        assert_eq!(refused.code(), "stock_out_of_range");
    }
}

#[tokio::test]
async fn concurrent_retries_of_an_adjustment_to_zero_are_replayed() {
    let service = TestService::new().await;
    for n in 0..5 {
        let created = service.create(&format!("SHOE-{n}")).await;
        let path = format!("{}/stock/adjustments", path_of(&created));
        let key = format!("all-{n}");
        let adjust = || {
            let body = json!({"delta": -5, "reason": "sold in the shop"});
            service.send(Call::post(&path).header("idempotency-key", &key).json(&body))
        };
        for response in at_once(&service, [(); 5].map(|()| adjust())).await {
            assert_eq!(response.expect(200).json["on_hand"], 0);
        }
    }
}

#[tokio::test]
async fn concurrent_adjustments_do_not_exhaust_the_pool() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let adjust = |nth: usize| {
        let call = Call::post(&format!("{}/stock/adjustments", path_of(&created)))
            .header("idempotency-key", &format!("sale-{nth}"))
            .json(&json!({"delta": 1, "reason": "came back"}));
        service.send(call)
    };
    // More adjustments than connections.
    let mut versions = Vec::new();
    for response in join_all((0..60).map(adjust)).await {
        let stock = response.expect(200).json;
        let version = stock["version"].as_i64().unwrap();
        assert_eq!(stock["on_hand"], 4 + version, "each of them adds one");
        versions.push(version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=61).collect::<Vec<_>>());
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await.expect(200);
    assert_eq!(stock.json["on_hand"], json!(65));
}

#[tokio::test]
async fn adjustment_returns_the_new_stock() {
    let service = TestService::new().await;
    let path = format!("{}/stock/adjustments", path_of(&service.create("SHOE-1").await));
    let call = Call::post(&path).json(&json!({"delta": -2, "reason": "broken"}));
    let adjusted = service.send(call).await.expect(200);
    assert_eq!(adjusted.json, json!({"on_hand": 3, "held": 0, "available": 3, "version": 2}));
    assert_eq!((adjusted.header("etag"), adjusted.header("idempotent-replayed")), ("\"v2\"", ""));
    assert_eq!((service.count("journal").await, service.count("outbox").await), (2, 2));
}

#[tokio::test]
async fn every_fault_of_an_adjustment_is_reported() {
    let service = TestService::new().await;
    let path = format!("{}/stock/adjustments", path_of(&service.create("SHOE-1").await));
    let refused = service.send(Call::post(&path).json(&json!({"delta": 0, "reason": " "}))).await;
    assert_problem(&refused, 422);
    let expected = json!([
        {"pointer": "/delta", "code": "invalid", "detail": "must not be 0"},
        {"pointer": "/reason", "code": "invalid", "detail": "must not be blank"},
    ]);
    assert_eq!(refused.json["errors"], expected);
}

#[tokio::test]
async fn retried_adjustment_is_replayed_after_its_product_was_deleted() {
    let service = TestService::new().await;
    let product = path_of(&service.create("SHOE-1").await);
    let adjustment = || {
        let body = json!({"delta": 4, "reason": "counted"});
        Call::post(&format!("{product}/stock/adjustments")).json(&body)
    };
    let first = service.send(adjustment().header("idempotency-key", "k1")).await.expect(200);
    service.send(Call::delete(&product).header("if-match", "*")).await.expect(204);
    let again = service.send(adjustment().header("idempotency-key", "k1")).await.expect(200);
    assert_eq!((&again.json, again.header("idempotent-replayed")), (&first.json, "true"));
    service.send(adjustment()).await.expect(404);
    service.send(Call::post(&format!("{product}/restore"))).await.expect(200);
    let stock = service.send(Call::get(&format!("{product}/stock"))).await.expect(200);
    assert_eq!(stock.json["on_hand"], 9);
}
