use serde_json::json;
use shared::id::ProductId;
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

#[tokio::test]
async fn response_is_304_when_the_etag_matches() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let again = service.send(Call::get(&path).header("if-none-match", "\"v1\"")).await.expect(304);
    assert_eq!((again.header("etag"), again.text.as_str()), ("\"v1\"", ""));
    service.send(Call::get(&path).header("if-none-match", "\"v2\"")).await.expect(200);
}

#[tokio::test]
async fn product_has_every_field_and_the_etag_of_its_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let read = service.send(Call::get(&path_of(&created))).await.expect(200);
    let now = service.clock.now();
    let expected = json!({
        "id": created.json["id"], "seller_id": service.seller_id,
        "sku": "SHOE-1", "name": "Running shoe", "category": "shoes",
        "attributes": {"size": 42, "weight": 0.25, "waterproof": true, "color": "red"},
        "price": {"amount": 12990, "currency": "BRL"}, "status": "active", "version": 1,
        "content_hash": created.json["content_hash"], "created_at": now, "updated_at": now,
    });
    assert_eq!(read.json, expected);
    assert_eq!(read.header("etag"), "\"v1\"");
}

#[tokio::test]
async fn unknown_product_is_not_found() {
    let service = TestService::new().await;
    let unknown = Call::get(&format!("/v1/products/{}", ProductId::from_u128(1)));
    let response = service.send(unknown).await;
    assert_problem(&response, 404);
    assert_eq!(response.code(), "not_found");
}
