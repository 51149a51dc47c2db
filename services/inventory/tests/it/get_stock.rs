use serde_json::json;
use shared::id::ProductId;
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

#[tokio::test]
async fn held_pieces_are_not_available() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    sqlx::query("update inventory.stock set held = 2").execute(&service.pool).await.unwrap();
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await.expect(200);
    assert_eq!(stock.json, json!({"on_hand": 5, "held": 2, "available": 3, "version": 1}));
    assert_eq!(stock.header("etag"), "\"v1\"");
}

#[tokio::test]
async fn change_of_the_product_leaves_the_version_of_its_stock() {
    let service = TestService::new().await;
    let path = path_of(&service.create("SHOE-1").await);
    let call = Call::patch(&path).header("if-match", "*").json(&json!({"name": "Other"}));
    service.send(call).await.expect(200);
    let stock = service.send(Call::get(&format!("{path}/stock"))).await.expect(200);
    assert_eq!(stock.json, json!({"on_hand": 5, "held": 0, "available": 5, "version": 1}));
}

#[tokio::test]
async fn stock_of_an_unknown_product_is_not_found() {
    let service = TestService::new().await;
    let unknown = Call::get(&format!("/v1/products/{}/stock", ProductId::from_u128(1)));
    assert_problem(&service.send(unknown).await, 404);
}
