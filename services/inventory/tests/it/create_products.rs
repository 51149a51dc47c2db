use serde_json::{Value, json};
use testkit::Call;

use crate::{TestService, assert_problem, path_of, shoe};

#[tokio::test]
async fn batch_returns_a_result_for_each_item_in_order() {
    let service = TestService::new().await;
    service.create("TAKEN").await;
    let mut blank = shoe("BLANK");
    blank["name"] = json!(" ");
    let items = json!({"items": [
        shoe("A"), shoe("TAKEN"), {"sku": "B"}, shoe("C"), blank, shoe("A"), 7
    ]});
    let response = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let results = response.json["results"].as_array().unwrap();
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
    let fault = json!({
        "pointer": "/items", "code": "invalid", "detail": "must have 1 to 100 items",
    });
    for items in [too_many, Vec::new()] {
        let call = Call::post("/v1/products/batch").json(&json!({ "items": items }));
        let refused = service.send(call).await;
        assert_problem(&refused, 422);
        assert_eq!(refused.json["errors"], json!([fault]), "{} items", items.len());
    }
    assert_eq!(service.count("products").await, 100);
}

#[tokio::test]
async fn item_has_the_product_or_the_problem_of_a_single_create() {
    let service = TestService::new().await;
    let taken = service.create("TAKEN").await;
    let items = json!({"items": [shoe("NEW"), shoe("TAKEN")]});
    let response = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let product = response.json["results"][0]["product"].clone();
    let problem = json!({
        "type": "/docs/problems/sku_taken", "title": "The SKU is taken", "status": 409,
        "code": "sku_taken", "detail": "another of your products has the sku \"TAKEN\"",
        "request_id": response.header("x-request-id"),
    });
    let expected = json!({"results": [
        {"status": 201, "product": product}, {"status": 409, "problem": problem},
    ]});
    assert_eq!(response.json, expected);
    let path = format!("/v1/products/{}", product["id"].as_str().unwrap());
    assert_eq!(service.send(Call::get(&path)).await.expect(200).json, product);
    service.send(Call::get(&path_of(&taken))).await.expect(200);
}

#[tokio::test]
async fn oversized_item_does_not_affect_the_others() {
    let service = TestService::new().await;
    let mut large = shoe("LARGE");
    large["description"] = json!("x".repeat(64 * 1024));
    let items = json!({"items": [large, shoe("SMALL")]});
    let response = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let results = &response.json["results"];
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(413), &json!(201)));
    assert_eq!(results[0]["problem"]["detail"], "an item may have 64 KiB");
    assert_eq!(service.count("products").await, 1);
}
