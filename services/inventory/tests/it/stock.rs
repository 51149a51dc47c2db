use serde_json::json;
use testkit::Call;

use crate::{TestService, path_of};

#[tokio::test]
async fn stock_has_its_own_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let stock = format!("{}/stock", path_of(&created));
    let first = service.send(Call::get(&stock)).await.expect(200);
    assert_eq!(first.json, json!({"on_hand": 5, "held": 0, "available": 5, "version": 1}));
    assert_eq!(first.header("etag"), "\"v1\"");
    service.send(Call::put(&stock).json(&json!({"on_hand": 8}))).await.expect(428);
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 8}));
    let set = service.send(call).await.expect(200);
    assert_eq!(set.json, json!({"on_hand": 8, "held": 0, "available": 8, "version": 2}));
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 9}));
    service.send(call).await.expect(412);
    let product = service.send(Call::get(&path_of(&created))).await;
    assert_eq!(product.json["version"], 1);
}

#[tokio::test]
async fn stock_below_held_is_refused_by_set_but_not_by_adjust() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    sqlx::query("update inventory.stock set held = 3").execute(&service.pool).await.unwrap();
    let stock = format!("{}/stock", path_of(&created));
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 2}));
    assert_eq!(service.send(call).await.expect(409).code(), "stock_below_held");
    let call =
        Call::post(&format!("{stock}/adjustments")).json(&json!({"delta": -4, "reason": "burnt"}));
    let adjusted = service.send(call).await.expect(200);
    assert_eq!(adjusted.json, json!({"on_hand": 1, "held": 3, "available": -2, "version": 2}));
}

#[tokio::test]
async fn concurrent_adjustments_all_count() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = format!("{}/stock/adjustments", path_of(&created));
    let adjust = |delta: i64| {
        service.send(Call::post(&path).json(&json!({"delta": delta, "reason": "counted"})))
    };
    let all = tokio::join!(adjust(1), adjust(2), adjust(3), adjust(-4), adjust(10));
    for response in [all.0, all.1, all.2, all.3, all.4] {
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
    for body in [json!({"delta": 0, "reason": "none"}), json!({"delta": 1, "reason": " "})] {
        service.send(Call::post(&path).json(&body)).await.expect(422);
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
        let all = tokio::join!(adjust(), adjust(), adjust(), adjust(), adjust(), adjust());
        for response in [all.0, all.1, all.2, all.3, all.4, all.5] {
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
    for response in futures::future::join_all((0..60).map(adjust)).await {
        response.expect(200);
    }
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await.expect(200);
    assert_eq!(stock.json["on_hand"], json!(65));
}

#[tokio::test]
async fn concurrent_counts_of_any_version_all_succeed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let count = |on_hand: usize| {
        let call = Call::put(&format!("{}/stock", path_of(&created))).header("if-match", "*");
        service.send(call.json(&json!({"on_hand": on_hand})))
    };
    for response in futures::future::join_all((0..30).map(count)).await {
        response.expect(200);
    }
}
