use serde_json::{Value, json};
use testkit::Call;

use crate::{TestService, shoe};

#[tokio::test]
async fn batch_returns_a_result_for_each_item_in_order() {
    let service = TestService::new().await;
    service.create("TAKEN").await;
    let mut blank = shoe("BLANK");
    blank["name"] = json!(" ");
    let items = json!({"items": [
        shoe("A"), shoe("TAKEN"), {"sku": "B"}, shoe("C"), blank, shoe("A"), 7
    ]});
    let answer = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let results = answer.json["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 409, 422, 201, 422, 409, 422]);
    assert_eq!(results[0]["product"]["sku"], "A");
    assert_eq!(results[3]["product"]["sku"], "C");
    assert_eq!(results[4]["problem"]["errors"][0]["pointer"], "/name");
    assert_eq!(service.count("products").await, 3);
    assert_eq!(service.count("outbox").await, 3);
}

#[tokio::test]
async fn batch_takes_1_to_100_items() {
    let service = TestService::new().await;
    let hundred: Vec<Value> = (0..100).map(|n| shoe(&format!("N-{n}"))).collect();
    let call = Call::post("/v1/products/batch").json(&json!({ "items": hundred }));
    service.send(call).await.expect(200);
    assert_eq!(service.count("products").await, 100);
    let too_many: Vec<Value> = (0..101).map(|n| shoe(&format!("M-{n}"))).collect();
    let call = Call::post("/v1/products/batch").json(&json!({ "items": too_many }));
    service.send(call).await.expect(422);
    service.send(Call::post("/v1/products/batch").json(&json!({ "items": [] }))).await.expect(422);
    assert_eq!(service.count("products").await, 100);
}
