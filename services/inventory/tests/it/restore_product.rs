use std::time::Duration;

use serde_json::json;
use shared::id::ProductId;
use testkit::Call;

use crate::{TestService, assert_problem, path_of, shoe};

#[tokio::test]
async fn deleted_product_is_absent_until_restored() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    service.send(Call::delete(&path).header("if-match", "\"v1\"")).await.expect(204);
    service.send(Call::get(&path)).await.expect(404);
    service.send(Call::get(&format!("{path}/stock"))).await.expect(404);
    assert_eq!(service.send(Call::get("/v1/products")).await.json["data"], json!([]));
    let restored = service.send(Call::post(&format!("{path}/restore"))).await.expect(200);
    assert_eq!(restored.json["version"], 3);
    assert_eq!(restored.json["name"], created.json["name"]);
    let again = service.send(Call::post(&format!("{path}/restore"))).await.expect(200);
    assert_eq!(again.json, restored.json);
}

#[tokio::test]
async fn sku_of_deleted_product_is_free_and_may_block_its_restore() {
    let service = TestService::new().await;
    let first = service.create("SHOE-1").await;
    let refused = service.send(Call::post("/v1/products").json(&shoe("SHOE-1"))).await.expect(409);
    assert_eq!(refused.code(), "sku_taken");
    service.send(Call::delete(&path_of(&first)).header("if-match", "\"v1\"")).await.expect(204);
    service.create("SHOE-1").await;
    let call = Call::post(&format!("{}/restore", path_of(&first)));
    assert_eq!(service.send(call).await.expect(409).code(), "sku_taken");
}

#[tokio::test]
async fn concurrent_changes_to_any_version_and_restores_succeed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let rename = |name: &'static str| {
        let call = Call::patch(&path).header("if-match", "*").json(&json!({ "name": name }));
        service.send(call)
    };
    let all = tokio::join!(rename("A"), rename("B"), rename("C"), rename("D"), rename("E"));
    for response in [all.0, all.1, all.2, all.3, all.4] {
        response.expect(200);
    }
    let now = service.send(Call::get(&path)).await;
    assert_eq!(now.json["version"], 6);
    service.send(Call::delete(&path).header("if-match", "*")).await.expect(204);
    let restore = || service.send(Call::post(&format!("{path}/restore")));
    let all = tokio::join!(restore(), restore(), restore(), restore());
    for response in [all.0, all.1, all.2, all.3] {
        assert_eq!(response.expect(200).json["version"], 8);
    }
}

#[tokio::test]
async fn restored_product_has_every_field_in_a_new_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    service.clock.advance(Duration::from_mins(1));
    service.send(Call::delete(&path).header("if-match", "\"v1\"")).await.expect(204);
    service.clock.advance(Duration::from_mins(1));
    let restored = service.send(Call::post(&format!("{path}/restore"))).await.expect(200);
    let mut expected = created.json.clone();
    expected["version"] = json!(3);
    expected["updated_at"] = json!(service.clock.now());
    expected["content_hash"] = restored.json["content_hash"].clone();
    assert_eq!(restored.json, expected);
    assert_eq!(restored.header("etag"), "\"v3\"");
    assert_eq!(service.send(Call::get(&path)).await.expect(200).json, restored.json);
}

#[tokio::test]
async fn unknown_product_cannot_be_restored() {
    let service = TestService::new().await;
    let call = Call::post(&format!("/v1/products/{}/restore", ProductId::from_u128(1)));
    assert_problem(&service.send(call).await, 404);
}

#[tokio::test]
async fn restore_announces_the_product_before_its_stock() {
    for (counts, stock) in [(0, ("product", 1)), (1, ("stock", 2))] {
        let service = TestService::new().await;
        let path = path_of(&service.create("SHOE-1").await);
        for _ in 0..counts {
            let call = Call::put(&format!("{path}/stock")).header("if-match", "*");
            service.send(call.json(&json!({"on_hand": 8}))).await.expect(200);
        }
        let call = Call::patch(&path).header("if-match", "*").json(&json!({"name": "Other"}));
        service.send(call).await.expect(200);
        service.send(Call::delete(&path).header("if-match", "*")).await.expect(204);
        service.send(Call::post(&format!("{path}/restore"))).await.expect(200);
        let last = "select aggregate, version from inventory.outbox order by position desc limit 2";
        let mut last: Vec<(String, i64)> =
            sqlx::query_as(last).fetch_all(&service.pool).await.unwrap();
        last.reverse();
        let expected = [("product", 4), stock];
        assert_eq!(last, expected.map(|(aggregate, version)| (aggregate.to_owned(), version)));
    }
}
