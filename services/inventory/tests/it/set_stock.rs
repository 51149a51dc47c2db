use serde_json::{Value, json};
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

#[tokio::test]
async fn stock_has_its_own_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let stock = format!("{}/stock", path_of(&created));
    let first = service.send(Call::get(&stock)).await.expect(200);
    assert_eq!(first.json, json!({"on_hand": 5, "held": 0, "available": 5, "version": 1}));
    assert_eq!(first.header("etag"), "\"v1\"");
    service.send(Call::put(&stock).json(&json!({"on_hand": 8}))).await.expect(428);
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 8}));
    let set = service.send(call).await.expect(200);
    assert_eq!(set.json, json!({"on_hand": 8, "held": 0, "available": 8, "version": 2}));
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 9}));
    service.send(call).await.expect(412);
    let product = service.send(Call::get(&path_of(&created))).await;
    assert_eq!(product.json["version"], 1);
}

#[tokio::test]
async fn stock_below_held_is_refused_by_set_but_not_by_adjust() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    sqlx::query("update inventory.stock set held = 3").execute(&service.pool).await.unwrap();
    let stock = format!("{}/stock", path_of(&created));
    let call = Call::put(&stock).header("if-match", "\"v1\"").json(&json!({"on_hand": 2}));
    assert_eq!(service.send(call).await.expect(409).code(), "stock_below_held");
    let call =
        Call::post(&format!("{stock}/adjustments")).json(&json!({"delta": -4, "reason": "burnt"}));
    let adjusted = service.send(call).await.expect(200);
    assert_eq!(adjusted.json, json!({"on_hand": 1, "held": 3, "available": -2, "version": 2}));
}

#[tokio::test]
async fn concurrent_counts_of_any_version_all_succeed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let count = |on_hand: usize| {
        let call = Call::put(&format!("{}/stock", path_of(&created))).header("if-match", "*");
        service.send(call.json(&json!({"on_hand": on_hand})))
    };
    let mut stocks: Vec<Value> = Vec::new();
    for (on_hand, response) in (0..).zip(futures::future::join_all((0..30).map(count)).await) {
        let stock = response.expect(200).json;
        assert_eq!(stock["on_hand"], on_hand, "each gets its own response");
        stocks.push(stock);
    }
    // The count of 5 makes no version if it comes first.
    stocks.retain(|stock| stock["version"] != 1);
    stocks.sort_by_key(|stock| stock["version"].as_i64());
    let versions: Vec<i64> =
        stocks.iter().map(|stock| stock["version"].as_i64().unwrap()).collect();
    let made = i64::try_from(stocks.len()).unwrap();
    assert!((29..=30).contains(&made), "{stocks:?}");
    assert_eq!(versions, (2..2 + made).collect::<Vec<_>>());
    let stock = service.send(Call::get(&format!("{}/stock", path_of(&created)))).await.expect(200);
    assert_eq!(Some(&stock.json), stocks.last(), "the last count wins");
}

#[tokio::test]
async fn count_that_changes_nothing_makes_no_version() {
    let service = TestService::new().await;
    let path = format!("{}/stock", path_of(&service.create("SHOE-1").await));
    let call = Call::put(&path).header("if-match", "\"v1\"").json(&json!({"on_hand": 5}));
    let set = service.send(call).await.expect(200);
    assert_eq!(set.json, json!({"on_hand": 5, "held": 0, "available": 5, "version": 1}));
    assert_eq!(set.header("etag"), "\"v1\"");
    assert_eq!(service.count("journal").await, 1);
}

#[tokio::test]
async fn count_out_of_range_is_refused_with_a_pointer() {
    let service = TestService::new().await;
    let path = format!("{}/stock", path_of(&service.create("SHOE-1").await));
    for on_hand in [-1, 1_000_000_001, i64::MAX] {
        let call = Call::put(&path).header("if-match", "*").json(&json!({"on_hand": on_hand}));
        let refused = service.send(call).await;
        assert_problem(&refused, 422);
        let fault =
            json!({"pointer": "/on_hand", "code": "invalid", "detail": "must be 0 to 10^9"});
        assert_eq!(refused.json["errors"], json!([fault]), "{on_hand}");
    }
}
