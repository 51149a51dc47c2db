use serde_json::{Value, json};
use shared::http::auth::Role;
use testkit::{Call, TestResponse};
use uuid::Uuid;

use crate::{TestService, shoe};

async fn post(service: &TestService, body: impl Into<Vec<u8>>) -> TestResponse {
    let call = Call::post("/v1/products").header("content-type", "application/json");
    service.send(call.bytes(body.into())).await
}

/// Asserts that the response is a problem document that a client can act on.
#[track_caller]
fn is_problem(response: &TestResponse, status: u16) {
    assert_eq!(response.status.as_u16(), status, "{}", response.text);
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json["status"], status);
    assert_eq!(response.json["request_id"], response.header("x-request-id"));
    assert!(response.json["type"].as_str().unwrap().ends_with(response.code()));
}

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
        is_problem(&response, 400);
    }
    is_problem(&post(&service, deep).await, 422);
    assert_eq!(service.count("products").await, 0);
}

#[tokio::test]
async fn every_fault_is_reported_with_its_pointer() {
    let service = TestService::new().await;
    let body = json!({
        "sku": "A B", "name": "\u{202e}evil", "category": "Shoes!", "description": "a\u{0}b",
        "attributes": {"x/y~z": "\u{0}"}, "price": {"amount": -1, "currency": "XXX"},
        "stock": {"on_hand": -1}, "status": "archived",
    });
    let response = post(&service, body.to_string()).await;
    is_problem(&response, 422);
    let mut pointers: Vec<&str> = response.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/attributes/x~1y~0z",
            "/category",
            "/description",
            "/name",
            "/price/amount",
            "/price/currency",
            "/sku",
            "/status",
            "/stock/on_hand"
        ]
    );
}

#[tokio::test]
async fn values_that_a_store_cannot_keep_are_refused() {
    let service = TestService::new().await;
    let with = |pointer: &str, value: Value| {
        let mut body = shoe("SHOE-1");
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value;
        body.to_string()
    };
    for (pointer, value) in [
        ("/sku", json!("")),
        ("/sku", json!("x".repeat(65))),
        ("/sku", json!(5)),
        ("/sku", json!("a\u{200b}b")),
        ("/name", json!("")),
        ("/name", json!(" \u{200b}")),
        ("/name", json!("x".repeat(201))),
        ("/name", json!(null)),
        ("/name", json!("a\nb")),
        ("/description", json!("x".repeat(10_001))),
        ("/category", json!("")),
        ("/category", json!("-shoes")),
        ("/category", json!("x".repeat(65))),
        ("/price", json!(12990)),
        ("/price/amount", json!(129.9)),
        ("/price/amount", json!("1")),
        ("/price/amount", json!(1_000_000_000_001_i64)),
        ("/price/amount", json!(1e300)),
        ("/price/currency", json!("brl")),
        ("/price/currency", json!("")),
        ("/stock/on_hand", json!(1.5)),
        ("/stock/on_hand", json!(1_000_000_001)),
        ("/status", json!("deleted")),
        ("/attributes", json!([])),
        ("/attributes/size", json!(null)),
        ("/attributes/size", json!({"a": 1})),
        ("/attributes/size", json!([1])),
        ("/attributes/size", json!(1e15)),
        ("/attributes/size", json!("")),
        ("/attributes/size", json!("\u{202e}")),
        ("/unknown", json!(1)),
        ("/id", json!("x")),
        ("/price/cents", json!(1)),
        ("/version", json!(1)),
    ] {
        let response = post(&service, with(pointer, value.clone())).await;
        assert_eq!(response.status, 422, "{pointer} {value}: {}", response.text);
        is_problem(&response, 422);
    }
    let text = shoe("SHOE-1").to_string();
    for number in ["1e200", "1e400", "0.12345678901234567", "1000000000000000"] {
        let body = text.replace("42", number);
        is_problem(&post(&service, body).await, 422);
    }
    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!(n))).collect();
    is_problem(&post(&service, with("/attributes", Value::Object(many))).await, 422);
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
        is_problem(&post(&service, good.replace(field, twice)).await, 422);
    }
    assert_eq!(service.count("products").await, 0);
}

#[tokio::test]
async fn body_of_another_type_or_encoding_is_refused() {
    let service = TestService::new().await;
    let good = shoe("SHOE-1").to_string();
    for kind in ["text/plain", "application/xml", "application/json; charset=latin1", ""] {
        let call = Call::post("/v1/products").header("content-type", kind);
        is_problem(&service.send(call.bytes(good.clone())).await, 415);
    }
    is_problem(&service.send(Call::post("/v1/products").bytes(good.clone())).await, 415);
    let call = Call::post("/v1/products")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    is_problem(&service.send(call.bytes(good.clone())).await, 415);
    let call = Call::post("/v1/products").header("content-type", "Application/JSON; charset=UTF-8");
    assert_eq!(service.send(call.bytes(good)).await.status, 201);
}

#[tokio::test]
async fn oversized_body_is_refused() {
    let service = TestService::new().await;
    let mut body = shoe("SHOE-1");
    body["description"] = json!("x".repeat(65 * 1024));
    is_problem(&post(&service, body.to_string()).await, 413);
    let call = Call::post("/v1/products/batch").header("content-type", "application/json");
    let response = service.send(call.bytes("x".repeat(1024 * 1024 + 1))).await;
    is_problem(&response, 413);
}

#[tokio::test]
async fn product_cannot_outgrow_its_event() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = created.header("location");
    let mut version = 1;
    let response = loop {
        let patch = json!({"attributes": {format!("a{version}"): "x".repeat(30_000)}});
        let tag = format!("\"v{version}\"");
        let response = service.send(Call::patch(path).header("if-match", &tag).json(&patch)).await;
        if response.status != 200 {
            break response;
        }
        version += 1;
    };
    is_problem(&response, 422);
    assert_eq!(response.json["errors"][0]["code"], "too_large");
    assert!(version < 5);
}

#[tokio::test]
async fn invalid_cursors_and_parameters_are_refused() {
    let service = TestService::new().await;
    for n in 0..3 {
        service.create(&format!("SHOE-{n}")).await;
    }
    for query in ["limit=0", "limit=101", "limit=x", "unknown=1", "limit=1&limit=2", "status=x"] {
        is_problem(&service.send(Call::get(&format!("/v1/products?{query}"))).await, 400);
    }
    let page = service.send(Call::get("/v1/products?limit=1")).await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    for broken in ["x", "", &cursor[1..], &format!("{cursor}A")] {
        let response = service.send(Call::get(&format!("/v1/products?cursor={broken}"))).await;
        is_problem(&response, 400);
        assert_eq!(response.code(), "invalid_cursor", "{broken}");
    }
    let other = format!("/v1/products?status=active&cursor={cursor}");
    assert_eq!(service.send(Call::get(&other)).await.code(), "invalid_cursor");
}

#[tokio::test]
async fn request_needs_a_valid_token_of_the_right_role() {
    let service = TestService::new().await;
    let tokens = &service.tokens;
    let list = || Call::get("/v1/products");
    is_problem(&list().send(&service.router).await, 401);
    let now = service.clock.now().timestamp();
    let seller = json!({"sub": Uuid::from_u128(1), "roles": ["seller"]});
    let with = |name: &str, value: Value| {
        let mut claims = seller.clone();
        claims[name] = value;
        tokens.with_claims(claims)
    };
    let good = tokens.with_claims(seller.clone());
    let (head, rest) = good.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{rest}");
    let stranger = testkit::Tokens::new(service.clock.clone()).with_claims(seller.clone());
    for bad in [
        with("exp", json!(now)),
        with("exp", json!(now - 1)),
        with("iss", json!("https://evil")),
        with("aud", json!("other")),
        format!("{head}.{rest}x"),
        unsigned,
        stranger,
        "nonsense".to_owned(),
        String::new(),
        "a.b.c".to_owned(),
    ] {
        let response = list().bearer(&bad).send(&service.router).await;
        assert_eq!(response.status, 401, "{bad}: {}", response.text);
        assert_eq!(response.header("www-authenticate"), "Bearer");
    }
    let basic = list().header("authorization", &format!("Basic {good}"));
    is_problem(&basic.send(&service.router).await, 401);
    for role in [Role::Buyer, Role::Operator] {
        let token = tokens.token(Uuid::from_u128(1), role);
        is_problem(&list().bearer(&token).send(&service.router).await, 403);
    }
    let outbox = || Call::get("/v1/admin/outbox");
    is_problem(&service.send(outbox()).await, 403);
    let operator = tokens.token(Uuid::from_u128(1), Role::Operator);
    assert_eq!(outbox().bearer(&operator).send(&service.router).await.status, 200);
}

#[tokio::test]
async fn cached_token_is_refused_after_its_expiry() {
    let service = TestService::new().await;
    let soon = service.clock.now().timestamp() + 10;
    let claims = json!({"sub": Uuid::from_u128(1), "roles": ["seller"], "exp": soon});
    let token = service.tokens.with_claims(claims);
    let list = || Call::get("/v1/products").bearer(&token);
    assert_eq!(list().send(&service.router).await.status, 200);
    service.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(list().send(&service.router).await.status, 401);
}

#[tokio::test]
async fn unknown_path_and_wrong_method_respond_with_problems() {
    let service = TestService::new().await;
    is_problem(&service.send(Call::get("/v1/nothing")).await, 404);
    is_problem(&service.send(Call::get("/v1/products/not-an-id")).await, 404);
    is_problem(&service.send(Call::get(&format!("/v1/products/{}", Uuid::nil()))).await, 404);
    let id = service.create("SHOE-1").await.json["id"].as_str().unwrap().to_owned();
    for other in [format!("urn:uuid:{id}"), format!("%7B{id}%7D"), id.replace('-', "")] {
        is_problem(&service.send(Call::get(&format!("/v1/products/{other}"))).await, 404);
    }
    let wrong = service.send(Call::delete("/v1/products")).await;
    is_problem(&wrong, 405);
    assert!(wrong.header("allow").contains("POST"), "{:?}", wrong.headers);
}

#[tokio::test]
async fn response_is_503_with_retry_after_when_database_is_down() {
    let service = TestService::new().await;
    service.pool.close().await;
    let response = service.send(Call::post("/v1/products").json(&shoe("SHOE-1"))).await;
    is_problem(&response, 503);
    assert_eq!(response.header("retry-after"), "1");
    assert!(!response.text.contains("pool"), "{}", response.text);
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
        is_problem(&post(&service, body.to_string()).await, 422);
    }
    let created = service.create("SHOE-1").await;
    let path = created.header("location");
    for body in [json!(["OTHER"]), json!({"price": [1]})] {
        let call = Call::patch(path).header("if-match", "*").json(&body);
        is_problem(&service.send(call).await, 422);
    }
    let call = Call::put(&format!("{path}/stock")).header("if-match", "*").json(&json!([7]));
    is_problem(&service.send(call).await, 422);
    assert_eq!(service.count("journal").await, 1);
}

#[tokio::test]
async fn parameter_that_postgresql_cannot_search_is_refused() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    is_problem(&service.send(Call::get("/v1/products?sku=%00")).await, 400);
    is_problem(&service.send(Call::get("/v1/products?sku=a%0Ab")).await, 400);
    for query in ["sku=%ff", "sku=%c3", "sku=%C3%28", "%ff=1", "sku=%", "sku=%+4"] {
        is_problem(&service.send(Call::get(&format!("/v1/products?{query}"))).await, 400);
    }
    service.send(Call::get("/v1/products?sku=%C3%A7+50%25")).await.expect(200);
    let history = format!("{}/history", created.header("location"));
    for time in ["-5000-01-01T00:00:00Z", "%2B300000-01-01T00:00:00Z"] {
        is_problem(&service.send(Call::get(&format!("{history}?as_of={time}"))).await, 400);
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
    is_problem(&service.send(twice("\"v9\"")).await, 412);
    is_problem(&service.send(twice("*")).await, 412);
    let token = service.tokens.token(Uuid::from_u128(1), Role::Seller);
    let other = service.tokens.token(Uuid::from_u128(2), Role::Seller);
    let call = Call::get("/v1/products").bearer(&token).bearer(&other);
    is_problem(&call.send(&service.router).await, 401);
    let call = Call::post("/v1/products").header("idempotency-key", "a");
    let call = call.header("idempotency-key", "b").json(&shoe("SHOE-2"));
    is_problem(&service.send(call).await, 400);
    assert_eq!(service.count("journal").await, 1);
}

#[tokio::test]
async fn largest_product_can_be_changed_and_deleted() {
    let service = TestService::new().await;
    let sized = |length: usize| {
        let mut body = shoe("LARGE");
        body["attributes"] = json!({"text": "x".repeat(length)});
        body
    };
    let (mut fits, mut too_large) = (60_000, 66_000);
    while too_large - fits > 1 {
        let middle = usize::midpoint(fits, too_large);
        let response = post(&service, sized(middle).to_string()).await;
        if response.status == 201 {
            let call = Call::delete(response.header("location")).header("if-match", "\"v1\"");
            service.send(call).await.expect(204);
            fits = middle;
        } else {
            too_large = middle;
        }
    }
    service.clock.advance(std::time::Duration::from_micros(123_456));
    let largest = post(&service, sized(fits).to_string()).await.expect(201);
    let path = largest.header("location");
    let call =
        Call::patch(path).header("if-match", "\"v1\"").json(&json!({"price": {"amount": 1}}));
    service.send(call).await.expect(200);
    service.send(Call::delete(path).header("if-match", "\"v2\"")).await.expect(204);
}
