use std::time::Duration;

use serde_json::{Value, json};
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::{Call, TestResponse};

use crate::{TestService, shoe};

fn keyed(service: &TestService, key: &str, body: &Value) -> impl Future<Output = TestResponse> {
    service.send(Call::post("/v1/products").header("idempotency-key", key).json(body))
}

#[tokio::test]
async fn retried_create_replays_the_first_response() {
    let service = TestService::new().await;
    let first = keyed(&service, "k1", &shoe("SHOE-1")).await.expect(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let path = first.header("location");
    let call = Call::patch(path).header("if-match", "\"v1\"").json(&json!({"name": "Other"}));
    service.send(call).await.expect(200);
    let again = keyed(&service, "k1", &shoe("SHOE-1")).await.expect(201);
    assert_eq!(again.json, first.json);
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(service.count("products").await, 1);
}

#[tokio::test]
async fn key_is_refused_with_another_body() {
    let service = TestService::new().await;
    keyed(&service, "k1", &shoe("SHOE-1")).await.expect(201);
    let refused = keyed(&service, "k1", &shoe("SHOE-2")).await.expect(422);
    assert_eq!(refused.code(), "idempotency_key_reused");
    assert_eq!(service.count("products").await, 1);
}

#[tokio::test]
async fn key_belongs_to_its_seller() {
    let service = TestService::new().await;
    let first = keyed(&service, "k1", &shoe("SHOE-1")).await.expect(201);
    let other = service.tokens.token(UserId::from_u128(9), Role::Seller);
    let call = Call::post("/v1/products").header("idempotency-key", "k1").bearer(&other);
    let second = call.json(&shoe("SHOE-1")).send(&service.router).await.expect(201);
    assert_eq!(second.header("idempotent-replayed"), "");
    assert_ne!(second.json["id"], first.json["id"]);
}

#[tokio::test]
async fn concurrent_creates_with_one_key_make_one_product() {
    let service = TestService::new().await;
    for n in 0..20 {
        let (key, body) = (format!("k{n}"), shoe(&format!("SHOE-{n}")));
        let send = || keyed(&service, &key, &body);
        let all = tokio::join!(send(), send(), send(), send(), send());
        let responses = [all.0, all.1, all.2, all.3, all.4];
        for response in &responses {
            assert_eq!(response.status, 201, "{}", response.text);
            assert_eq!(response.json, responses[0].json);
        }
        let fresh = responses.iter().filter(|a| a.header("idempotent-replayed").is_empty());
        assert_eq!(fresh.count(), 1);
    }
    assert_eq!(service.count("products").await, 20);
    assert_eq!(service.count("outbox").await, 20);
}

#[tokio::test]
async fn refused_create_does_not_consume_its_key() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    keyed(&service, "k1", &shoe("SHOE-1")).await.expect(409);
    keyed(&service, "k1", &shoe("SHOE-2")).await.expect(201);
}

#[tokio::test]
async fn retried_batch_creates_nothing_twice() {
    let service = TestService::new().await;
    let items = json!({"items": [shoe("A"), shoe("B")]});
    let send = || {
        service.send(Call::post("/v1/products/batch").header("idempotency-key", "k").json(&items))
    };
    let first = send().await.expect(200);
    let again = send().await.expect(200);
    for n in 0..2 {
        assert_eq!(again.json["results"][n]["status"], 201);
        assert_eq!(again.json["results"][n]["product"], first.json["results"][n]["product"]);
        assert_eq!(again.json["results"][n]["replayed"], true);
    }
    assert_eq!(service.count("products").await, 2);
}

#[tokio::test]
async fn concurrent_batches_create_each_product_once() {
    let service = TestService::new().await;
    for round in 0..5 {
        let key = format!("k{round}");
        // All batches share their keys; every second batch has another product under the last key.
        let batch = |nth: usize| {
            let mut items: Vec<Value> =
                (0..20).map(|n| shoe(&format!("SHOE-{round}-{n}"))).collect();
            if nth % 2 == 1 {
                items[19] = shoe(&format!("OTHER-{round}"));
            }
            let call = Call::post("/v1/products/batch").header("idempotency-key", &key);
            service.send(call.json(&json!({"items": items})))
        };
        let responses = futures::future::join_all((0..6).map(batch)).await;
        let (mut fresh, mut refused) = (0, 0);
        for response in &responses {
            assert_eq!(response.status, 200, "{}", response.text);
            let results = response.json["results"].as_array().unwrap();
            for (nth, result) in results.iter().enumerate() {
                refused += usize::from(result["status"] == 422);
                if result["status"] == 201 {
                    fresh += usize::from(result["replayed"] != true);
                    assert!(
                        nth == 19
                            || result["product"] == responses[0].json["results"][nth]["product"]
                    );
                } else {
                    assert_eq!((nth, &result["status"]), (19, &json!(422)), "{}", response.text);
                }
            }
        }
        assert_eq!((fresh, refused), (20, 3));
    }
    assert_eq!(service.count("products").await, 100);
    assert_eq!(service.count("outbox").await, 100);
    assert_eq!(service.count("idempotency").await, 100);
}

#[tokio::test]
async fn invalid_key_is_refused() {
    let service = TestService::new().await;
    for key in ["", "a b", &"x".repeat(256)] {
        keyed(&service, key, &shoe("SHOE-1")).await.expect(400);
    }
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(service.count("products").await, 0);
}

#[tokio::test]
async fn refused_item_does_not_affect_the_next_with_its_sku() {
    let service = TestService::new().await;
    let batch = |items: Value| {
        let call = Call::post("/v1/products/batch").header("idempotency-key", "K");
        service.send(call.json(&json!({"items": items})))
    };
    batch(json!([shoe("Z")])).await.expect(200);
    // The key of the first item was used with another body; the second item has its own key.
    let response = batch(json!([shoe("X"), shoe("X")])).await.expect(200);
    let status = |nth: usize| response.json["results"][nth]["status"].clone();
    assert_eq!((status(0), status(1)), (json!(422), json!(201)), "{}", response.text);
}
