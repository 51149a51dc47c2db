use serde_json::json;
use testkit::Call;

use crate::{TestService, assert_problem, path_of, post, shoe};

#[tokio::test]
async fn created_product_is_read_back_with_every_field() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    assert_eq!(created.header("etag"), "\"v1\"");
    assert_eq!(created.header("location"), path_of(&created));
    let read = service.send(Call::get(&path_of(&created))).await.expect(200);
    assert_eq!(read.json, created.json);
    for (field, value) in shoe("SHOE-1").as_object().unwrap() {
        if field != "stock" {
            assert_eq!(&read.json[field], value, "{field}");
        }
    }
    assert_eq!(read.json["seller_id"], json!(service.seller_id));
    assert_eq!(read.json["version"], 1);
    assert_eq!(read.json["status"], "active");
}

#[tokio::test]
async fn product_journal_entry_and_pointer_are_written_together() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    for table in ["products", "stock", "journal", "outbox"] {
        assert_eq!(service.count(table).await, 1, "{table}");
    }
    service.send(Call::post("/v1/products").json(&shoe("SHOE-1"))).await.expect(409);
    for table in ["products", "stock", "journal", "outbox"] {
        assert_eq!(service.count(table).await, 1, "{table} after a refusal");
    }
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
    assert_problem(&response, 422);
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
async fn response_is_503_with_retry_after_when_database_is_down() {
    let service = TestService::new().await;
    service.pool.close().await;
    let response = service.send(Call::post("/v1/products").json(&shoe("SHOE-1"))).await;
    assert_problem(&response, 503);
    assert_eq!(response.header("retry-after"), "1");
    assert!(!response.text.contains("pool"), "{}", response.text);
}

#[tokio::test]
async fn absent_fields_get_their_defaults() {
    let service = TestService::new().await;
    let body = json!({
        "sku": "PLAIN", "name": "Plain", "category": "plain",
        "price": {"amount": 0, "currency": "EUR"},
    });
    let created = service.send(Call::post("/v1/products").json(&body)).await.expect(201);
    let now = service.clock.now();
    let expected = json!({
        "id": created.json["id"], "seller_id": service.seller_id,
        "sku": "PLAIN", "name": "Plain", "category": "plain", "attributes": {},
        "price": {"amount": 0, "currency": "EUR"}, "status": "active", "version": 1,
        "content_hash": created.json["content_hash"], "created_at": now, "updated_at": now,
    });
    assert_eq!(created.json, expected);
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await.expect(200);
    assert_eq!(stock.json["on_hand"], 0);
}

#[tokio::test]
async fn draft_is_created_as_a_draft() {
    let service = TestService::new().await;
    let mut body = shoe("SHOE-1");
    body["status"] = json!("draft");
    let created = service.send(Call::post("/v1/products").json(&body)).await.expect(201);
    assert_eq!(created.json["status"], "draft");
}
