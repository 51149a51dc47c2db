//! Bodies, headers, parameters and paths that every endpoint refuses alike.

use serde_json::json;
use shared::http::auth::Role;
use shared::id::{ProductId, UserId};
use testkit::Call;

use crate::{TestService, assert_problem, post, shoe};

#[tokio::test]
async fn body_that_is_not_json_is_refused() {
    let service = TestService::new().await;
    let deep = format!("{{\"sku\":{}1{}}}", "[".repeat(100_000 / 4), "]".repeat(100_000 / 4));
    let good = shoe("SHOE-1").to_string();
    for body in [
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"sku\": \"\xff\"}".to_vec(),
        b"{\"sku\": \"\xed\xa0\x80\"}".to_vec(),
        b"{\"sku\": \"\\ud800\"}".to_vec(),
        format!("{good}x").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        good.replace("Running", "Run\u{0}ning").into_bytes(),
        good.replace("12990", "012990").into_bytes(),
        good.replace("12990", "NaN").into_bytes(),
    ] {
        let response = post(&service, body.clone()).await;
        assert_eq!(response.status, 400, "{:?}: {}", String::from_utf8_lossy(&body), response.text);
        assert_problem(&response, 400);
    }
    assert_problem(&post(&service, deep).await, 422);
    assert_eq!(service.count("products").await, 0);
}

#[tokio::test]
async fn duplicate_field_is_refused_at_any_depth() {
    let service = TestService::new().await;
    let good = shoe("SHOE-1").to_string();
    for (field, twice) in [
        ("\"sku\":", "\"sku\":\"X\",\"sku\":"),
        ("\"amount\":", "\"amount\":1,\"amount\":"),
        ("\"size\":", "\"size\":1,\"size\":"),
        ("\"size\":", "\"si\\u007ae\":1,\"size\":"),
    ] {
        assert_problem(&post(&service, good.replace(field, twice)).await, 422);
    }
    assert_eq!(service.count("products").await, 0);
}

#[tokio::test]
async fn body_of_another_type_or_encoding_is_refused() {
    let service = TestService::new().await;
    let good = shoe("SHOE-1").to_string();
    for kind in ["text/plain", "application/xml", "application/json; charset=latin1", ""] {
        let call = Call::post("/v1/products").header("content-type", kind);
        assert_problem(&service.send(call.bytes(good.clone())).await, 415);
    }
    assert_problem(&service.send(Call::post("/v1/products").bytes(good.clone())).await, 415);
    let call = Call::post("/v1/products")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    assert_problem(&service.send(call.bytes(good.clone())).await, 415);
    let call = Call::post("/v1/products").header("content-type", "Application/JSON; charset=UTF-8");
    assert_eq!(service.send(call.bytes(good)).await.status, 201);
}

#[tokio::test]
async fn oversized_body_is_refused() {
    let service = TestService::new().await;
    let mut body = shoe("SHOE-1");
    body["description"] = json!("x".repeat(65 * 1024));
    assert_problem(&post(&service, body.to_string()).await, 413);
    let call = Call::post("/v1/products/batch").header("content-type", "application/json");
    let response = service.send(call.bytes("x".repeat(1024 * 1024 + 1))).await;
    assert_problem(&response, 413);
}

#[tokio::test]
async fn unknown_path_and_wrong_method_respond_with_problems() {
    let service = TestService::new().await;
    assert_problem(&service.send(Call::get("/v1/nothing")).await, 404);
    assert_problem(&service.send(Call::get("/v1/products/not-an-id")).await, 404);
    assert_problem(
        &service.send(Call::get(&format!("/v1/products/{}", ProductId::nil()))).await,
        404,
    );
    let id = service.create("SHOE-1").await.json["id"].as_str().unwrap().to_owned();
    for other in [format!("urn:uuid:{id}"), format!("%7B{id}%7D"), id.replace('-', "")] {
        assert_problem(&service.send(Call::get(&format!("/v1/products/{other}"))).await, 404);
    }
    let wrong = service.send(Call::delete("/v1/products")).await;
    assert_problem(&wrong, 405);
    assert!(wrong.header("allow").contains("POST"), "{:?}", wrong.headers);
}

#[tokio::test]
async fn array_is_refused_in_place_of_an_object() {
    let service = TestService::new().await;
    for body in [
        json!(["SKU", "Name", null, "shoes", {}, {"amount": 1, "currency": "BRL"}, {}, null]),
        json!({"sku": "A", "name": "A", "category": "a", "price": [1, "BRL"]}),
        json!({
            "sku": "A", "name": "A", "category": "a", "price": {"amount": 1, "currency": "BRL"},
            "stock": [5]
        }),
    ] {
        assert_problem(&post(&service, body.to_string()).await, 422);
    }
    let created = service.create("SHOE-1").await;
    let path = created.header("location");
    for body in [json!(["OTHER"]), json!({"price": [1]})] {
        let call = Call::patch(path).header("if-match", "*").json(&body);
        assert_problem(&service.send(call).await, 422);
    }
    let call = Call::put(&format!("{path}/stock")).header("if-match", "*").json(&json!([7]));
    assert_problem(&service.send(call).await, 422);
    assert_eq!(service.count("journal").await, 1);
}

#[tokio::test]
async fn parameter_that_postgresql_cannot_search_is_refused() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    assert_problem(&service.send(Call::get("/v1/products?sku=%00")).await, 400);
    assert_problem(&service.send(Call::get("/v1/products?sku=a%0Ab")).await, 400);
    for query in ["sku=%ff", "sku=%c3", "sku=%C3%28", "%ff=1", "sku=%", "sku=%+4"] {
        assert_problem(&service.send(Call::get(&format!("/v1/products?{query}"))).await, 400);
    }
    service.send(Call::get("/v1/products?sku=%C3%A7+50%25")).await.expect(200);
    let history = format!("{}/history", created.header("location"));
    for time in ["-5000-01-01T00:00:00Z", "%2B300000-01-01T00:00:00Z"] {
        assert_problem(&service.send(Call::get(&format!("{history}?as_of={time}"))).await, 400);
    }
}

#[tokio::test]
async fn repeated_header_is_refused() {
    let service = TestService::new().await;
    let path = service.create("SHOE-1").await.header("location").to_owned();
    let twice = |second: &str| {
        let call = Call::patch(&path).header("if-match", "*").header("if-match", second);
        call.json(&json!({"name": "Overwritten"}))
    };
    assert_problem(&service.send(twice("\"v9\"")).await, 412);
    assert_problem(&service.send(twice("*")).await, 412);
    let token = service.tokens.token(UserId::from_u128(1), Role::Seller);
    let other = service.tokens.token(UserId::from_u128(2), Role::Seller);
    let call = Call::get("/v1/products").bearer(&token).bearer(&other);
    assert_problem(&call.send(&service.router).await, 401);
    let call = Call::post("/v1/products").header("idempotency-key", "a");
    let call = call.header("idempotency-key", "b").json(&shoe("SHOE-2"));
    assert_problem(&service.send(call).await, 400);
    assert_eq!(service.count("journal").await, 1);
}
