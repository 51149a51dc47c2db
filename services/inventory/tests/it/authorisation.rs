//! Tokens, roles and owners, for every endpoint.

use serde_json::{Value, json};
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::Call;

use crate::{TestService, assert_problem, path_of, shoe};

#[tokio::test]
async fn request_needs_a_valid_token_of_the_right_role() {
    let service = TestService::new().await;
    let tokens = &service.tokens;
    let list = || Call::get("/v1/products");
    assert_problem(&list().send(&service.router).await, 401);
    let now = service.clock.now().timestamp();
    let seller = json!({"sub": UserId::from_u128(1), "roles": ["seller"]});
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
    assert_problem(&basic.send(&service.router).await, 401);
    for role in [Role::Buyer, Role::Operator] {
        let token = tokens.token(UserId::from_u128(1), role);
        assert_problem(&list().bearer(&token).send(&service.router).await, 403);
    }
    let outbox = || Call::get("/v1/admin/outbox");
    assert_problem(&service.send(outbox()).await, 403);
    let operator = tokens.token(UserId::from_u128(1), Role::Operator);
    assert_eq!(outbox().bearer(&operator).send(&service.router).await.status, 200);
}

#[tokio::test]
async fn cached_token_is_refused_after_its_expiry() {
    let service = TestService::new().await;
    let soon = service.clock.now().timestamp() + 10;
    let claims = json!({"sub": UserId::from_u128(1), "roles": ["seller"], "exp": soon});
    let token = service.tokens.with_claims(claims);
    let list = || Call::get("/v1/products").bearer(&token);
    assert_eq!(list().send(&service.router).await.status, 200);
    service.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(list().send(&service.router).await.status, 401);
}

#[tokio::test]
async fn product_of_another_seller_is_not_found() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let stranger = service.tokens.token(UserId::from_u128(9), Role::Seller);
    let any = ("if-match", "*");
    for call in [
        Call::get(&path),
        Call::get(&format!("{path}/history")),
        Call::get(&format!("{path}/stock")),
        Call::patch(&path).header(any.0, any.1).json(&json!({"name": "Mine"})),
        Call::delete(&path).header(any.0, any.1),
        Call::post(&format!("{path}/restore")),
        Call::put(&format!("{path}/stock")).header(any.0, any.1).json(&json!({"on_hand": 1})),
        Call::post(&format!("{path}/stock/adjustments"))
            .json(&json!({"delta": 1, "reason": "found"})),
    ] {
        let what = format!("{call:?}");
        let response = call.bearer(&stranger).send(&service.router).await;
        assert_eq!(response.status, 404, "{what}");
    }
    let list = Call::get("/v1/products").bearer(&stranger).send(&service.router).await;
    assert_eq!(list.json["data"], json!([]));
    // Two sellers may use the same SKU.
    let call = Call::post("/v1/products").bearer(&stranger).json(&shoe("SHOE-1"));
    assert_eq!(call.send(&service.router).await.status, 201);
}

#[tokio::test]
async fn every_seller_endpoint_needs_the_role_seller() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let every_call = || {
        [
            Call::get("/v1/products"),
            Call::post("/v1/products").json(&shoe("SHOE-2")),
            Call::post("/v1/products/batch").json(&json!({"items": [shoe("SHOE-3")]})),
            Call::get(&path),
            Call::get(&format!("{path}/history")),
            Call::get(&format!("{path}/stock")),
            Call::patch(&path).header("if-match", "*").json(&json!({"name": "Other"})),
            Call::delete(&path).header("if-match", "*"),
            Call::post(&format!("{path}/restore")),
            Call::put(&format!("{path}/stock"))
                .header("if-match", "*")
                .json(&json!({"on_hand": 1})),
            Call::post(&format!("{path}/stock/adjustments"))
                .json(&json!({"delta": 1, "reason": "found"})),
        ]
    };
    for call in every_call() {
        assert_problem(&call.send(&service.router).await, 401);
    }
    for role in [Role::Buyer, Role::Operator] {
        let token = service.tokens.token(service.user_id, role);
        for call in every_call() {
            let refused = call.bearer(&token).send(&service.router).await;
            assert_problem(&refused, 403);
            assert_eq!(refused.json["detail"], "this requires the role seller");
        }
    }
    assert_eq!(service.count("journal").await, 1);
}
