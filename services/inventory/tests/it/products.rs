use std::time::Duration;

use serde_json::{Value, json};
use shared::http::auth::Role;
use testkit::Call;
use uuid::Uuid;

use crate::{TestService, path_of, shoe};

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
async fn response_is_304_when_the_etag_matches() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let again = service.send(Call::get(&path).header("if-none-match", "\"v1\"")).await.expect(304);
    assert_eq!((again.header("etag"), again.text.as_str()), ("\"v1\"", ""));
    service.send(Call::get(&path).header("if-none-match", "\"v2\"")).await.expect(200);
}

#[tokio::test]
async fn merge_patch_changes_named_fields_and_null_removes() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let patch = json!({
        "name": "Trail shoe", "description": "For mud.\nAnd rain.", "price": {"amount": 9990},
        "attributes": {"color": null, "size": 43, "new": "yes"}, "status": "archived",
    });
    let call = Call::patch(&path_of(&created)).header("if-match", "\"v1\"").json(&patch);
    let changed = service.send(call).await.expect(200);
    assert_eq!(changed.header("etag"), "\"v2\"");
    assert_eq!(changed.json["name"], "Trail shoe");
    assert_eq!(changed.json["description"], "For mud.\nAnd rain.");
    assert_eq!(changed.json["price"], json!({"amount": 9990, "currency": "BRL"}));
    let attributes = json!({"size": 43, "weight": 0.25, "waterproof": true, "new": "yes"});
    assert_eq!(changed.json["attributes"], attributes);
    assert_eq!(changed.json["status"], "archived");
    let call = Call::patch(&path_of(&created))
        .header("if-match", "\"v2\"")
        .json(&json!({"description": null, "attributes": null}));
    let changed = service.send(call).await.expect(200);
    assert_eq!(changed.json.get("description"), None);
    assert_eq!(changed.json["attributes"], json!({}));
    assert_eq!(service.send(Call::get(&path_of(&created))).await.json, changed.json);
}

#[tokio::test]
async fn patch_that_changes_nothing_makes_no_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let call = Call::patch(&path_of(&created))
        .header("if-match", "\"v1\"")
        .json(&json!({"name": "Running shoe", "attributes": {"absent": null}}));
    assert_eq!(service.send(call).await.expect(200).json, created.json);
    assert_eq!(service.count("outbox").await, 1);
}

#[tokio::test]
async fn required_field_cannot_be_removed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    for field in ["sku", "name", "category", "price", "status"] {
        let call = Call::patch(&path_of(&created))
            .header("if-match", "\"v1\"")
            .json(&json!({ field: null }));
        let refused = service.send(call).await.expect(422);
        assert_eq!(refused.json["errors"][0]["pointer"], format!("/{field}"));
    }
}

#[tokio::test]
async fn change_needs_the_current_version() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let patch = json!({"name": "Other"});
    let missing = service.send(Call::patch(&path).json(&patch)).await.expect(428);
    assert_eq!(missing.code(), "version_required");
    for stale in ["\"v2\"", "\"v0\"", "W/\"v1\"", "v1", "\"1\"", "\"v+1\"", "\"v01\"", "nonsense"] {
        let call = Call::patch(&path).header("if-match", stale).json(&patch);
        assert_eq!(service.send(call).await.expect(412).code(), "stale_version", "{stale}");
        service.send(Call::delete(&path).header("if-match", stale)).await.expect(412);
    }
    let call = Call::patch(&path).header("if-match", "*").json(&patch);
    service.send(call).await.expect(200);
}

#[tokio::test]
async fn one_of_several_changes_to_a_version_succeeds() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let change = |name: &'static str| {
        let call = Call::patch(&path).header("if-match", "\"v1\"").json(&json!({ "name": name }));
        service.send(call)
    };
    let responses = tokio::join!(change("A"), change("B"), change("C"), change("D"));
    let statuses = [responses.0, responses.1, responses.2, responses.3].map(|a| a.status.as_u16());
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 3, "{statuses:?}");
    assert_eq!(service.count("journal").await, 2);
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
async fn product_of_another_seller_is_not_found() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let stranger = service.tokens.token(Uuid::from_u128(9), Role::Seller);
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
async fn next_page_continues_after_the_last_product() {
    let service = TestService::new().await;
    let mut skus = Vec::new();
    for n in 0..7 {
        service.clock.advance(Duration::from_millis(5));
        skus.push(service.create(&format!("SHOE-{n}")).await.json["sku"].clone());
    }
    skus.reverse();
    let mut seen: Vec<Value> = Vec::new();
    let mut path = "/v1/products?limit=3".to_owned();
    loop {
        let page = service.send(Call::get(&path)).await.expect(200);
        seen.extend(page.json["data"].as_array().unwrap().iter().map(|p| p["sku"].clone()));
        if page.json["page"]["has_more"] == json!(false) {
            assert_eq!(page.header("link"), "");
            break;
        }
        let next = page.header("link").split(['<', '>']).nth(1).unwrap();
        next.clone_into(&mut path);
    }
    assert_eq!(seen, skus);
    let one = service.send(Call::get("/v1/products?sku=SHOE-3")).await;
    assert_eq!(one.json["data"].as_array().unwrap().len(), 1);
    let none = service.send(Call::get("/v1/products?status=draft")).await;
    assert_eq!(none.json["data"], json!([]));
}

#[tokio::test]
async fn history_lists_versions_and_returns_the_product_at_a_time() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = path_of(&created);
    let before = service.clock.now();
    service.clock.advance(Duration::from_mins(1));
    let call = Call::patch(&path).header("if-match", "\"v1\"").json(&json!({"name": "Trail shoe"}));
    service.send(call).await.expect(200);
    service.clock.advance(Duration::from_mins(1));
    service.send(Call::delete(&path).header("if-match", "\"v2\"")).await.expect(204);
    let history = service.send(Call::get(&format!("{path}/history?limit=2"))).await.expect(200);
    let entries = history.json["data"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["change"], "created");
    assert_eq!(entries[0]["product"], created.json);
    assert_eq!(entries[1]["change"], "updated");
    assert_eq!(entries[1]["version"], 2);
    assert_eq!(entries[1]["actor"], json!(service.seller_id));
    let next = history.header("link").split(['<', '>']).nth(1).unwrap();
    let rest = service.send(Call::get(next)).await.expect(200);
    assert_eq!(rest.json["data"][0]["change"], "deleted");
    assert_eq!(rest.json["page"]["has_more"], false);
    let at = before.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let then = service.send(Call::get(&format!("{path}/history?as_of={at}"))).await.expect(200);
    assert_eq!(then.json, created.json);
    let gone = service.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let then = service.send(Call::get(&format!("{path}/history?as_of={gone}"))).await.expect(200);
    assert!(then.json["deleted_at"].is_string(), "{}", then.text);
    assert_eq!(then.json["deleted_at"], then.json["updated_at"]);
    let never = format!("{path}/history?as_of=2001-01-01T00:00:00Z");
    service.send(Call::get(&never)).await.expect(404);
}

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
    let call = Call::post("/v1/products/batch").json(&json!({ "items": too_many }));
    service.send(call).await.expect(422);
    service.send(Call::post("/v1/products/batch").json(&json!({ "items": [] }))).await.expect(422);
    assert_eq!(service.count("products").await, 100);
}

#[tokio::test]
async fn change_succeeds_if_any_of_its_versions_is_current() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let change = |tags: &'static str| {
        Call::patch(&path_of(&created)).header("if-match", tags).json(&json!({"name": "Other"}))
    };
    service.send(change("\"v7\", \"v9\"")).await.expect(412);
    service.send(change("\"v7\", W/\"v1\"")).await.expect(412);
    service.send(change("\"v7\", \"v1\"")).await.expect(200);
}

#[tokio::test]
async fn sixty_concurrent_changes_to_any_version_succeed() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let change = |nth: usize| {
        let call = Call::patch(&path_of(&created)).header("if-match", "*");
        service.send(call.json(&json!({"name": format!("Shoe {nth}")})))
    };
    for response in futures::future::join_all((0..60).map(change)).await {
        response.expect(200);
    }
    let product = service.send(Call::get(&path_of(&created))).await.expect(200);
    assert_eq!(product.json["version"], json!(61));
}
