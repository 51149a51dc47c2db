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
        shoe("A"), shoe("TAKEN"), {"sku": "B"}, shoe("A"), shoe("C"), blank, 7
    ]});
    let response = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let results = response.json["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 409, 422, 409, 201, 422, 422]);
    assert_eq!(results[0]["product"]["sku"], "A");
    assert!(results[1]["problem"]["detail"].as_str().unwrap().contains("TAKEN"), "{results:?}");
    assert!(results[3]["problem"]["detail"].as_str().unwrap().contains("\"A\""), "{results:?}");
    assert_eq!(results[4]["product"]["sku"], "C");
    assert_eq!(results[5]["problem"]["errors"][0]["pointer"], "/name");
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

/// Items without a value in common, not in the order of any of their values.
fn different_items() -> Vec<Value> {
    let rows = [
        ("M", "shoes", 500, "BRL", 3, "active"),
        ("B", "toys", 900, "EUR", 1, "draft"),
        ("Z", "hats", 100, "BRL", 9, "active"),
        ("A", "bags", 700, "JPY", 0, "active"),
        ("K", "cups", 300, "EUR", 5, "draft"),
    ];
    rows.map(|(sku, category, amount, currency, on_hand, status)| {
        json!({
            "sku": sku, "name": format!("Name of {sku}"), "category": category, "status": status,
            "description": format!("Text of {sku}"), "attributes": {"of": sku},
            "price": {"amount": amount, "currency": currency}, "stock": {"on_hand": on_hand},
        })
    })
    .to_vec()
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_values() {
    let service = TestService::new().await;
    let items = different_items();
    let send = async || {
        let call = Call::post("/v1/products/batch").header("idempotency-key", "batch");
        service.send(call.json(&json!({ "items": items }))).await.expect(200).json["results"]
            .clone()
    };
    let results = send().await;
    for (item, result) in items.iter().zip(results.as_array().unwrap()) {
        let product = &result["product"];
        for name in ["sku", "name", "category", "status", "description", "attributes", "price"] {
            assert_eq!(product[name], item[name], "{name} of {item}");
        }
        let path = format!("/v1/products/{}", product["id"].as_str().unwrap());
        assert_eq!(service.send(Call::get(&path)).await.expect(200).json, *product);
        let stock = service.send(Call::get(&format!("{path}/stock"))).await.expect(200);
        assert_eq!(stock.json["on_hand"], item["stock"]["on_hand"], "{item}");
        let history = service.send(Call::get(&format!("{path}/history"))).await.expect(200);
        assert_eq!(history.json["data"][0]["product"], *product);
    }
    assert_eq!(results.as_array().unwrap().len(), items.len());
    // A replay has the first response for each item again.
    let replayed = send().await;
    for (first, again) in results.as_array().unwrap().iter().zip(replayed.as_array().unwrap()) {
        assert_eq!((&again["product"], &again["replayed"]), (&first["product"], &json!(true)));
    }
}

#[tokio::test]
async fn corrected_item_does_not_shift_the_keys_of_the_others() {
    let service = TestService::new().await;
    let send = async |items: &[Value]| {
        let call = Call::post("/v1/products/batch").header("idempotency-key", "batch");
        service.send(call.json(&json!({ "items": items }))).await.expect(200).json["results"]
            .clone()
    };
    let corrected = different_items();
    let mut items = corrected.clone();
    items[1]["name"] = json!("");
    let first = send(&items).await;
    assert_eq!(first[1]["status"], 422);
    // A key stands for the place of an item, so the other items are replayed.
    let again = send(&corrected).await;
    for place in 0..corrected.len() {
        let (item, before) = (&again[place], &first[place]);
        assert_eq!(item["status"], 201, "item {place}: {item}");
        assert_eq!(item["replayed"] == json!(true), place != 1, "item {place}");
        if place != 1 {
            assert_eq!(item["product"], before["product"], "item {place}");
        }
    }
}

#[tokio::test]
async fn items_written_one_by_one_have_their_own_results() {
    let service = TestService::new().await;
    service.create("B").await;
    // As if other requests took SKUs of the batch again and again.
    for statement in [
        "create function race() returns trigger language plpgsql as $$
         begin
             if (select count(*) from new_rows) > 1 then
                 raise unique_violation using constraint = 'products_sku';
             end if;
             return null;
         end $$",
        "create trigger race after insert on inventory.products
         referencing new table as new_rows for each statement execute function race()",
    ] {
        sqlx::query(statement).execute(&service.pool).await.unwrap();
    }
    let items = json!({ "items": different_items() });
    let response = service.send(Call::post("/v1/products/batch").json(&items)).await.expect(200);
    let results = response.json["results"].as_array().unwrap();
    let results: Vec<(u64, &str)> = results
        .iter()
        .map(|it| {
            (it["status"].as_u64().unwrap(), it["product"]["sku"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(results, [(201, "M"), (409, ""), (201, "Z"), (201, "A"), (201, "K")]);
    assert_eq!(service.count("products").await, 5);
}

#[tokio::test]
async fn batch_takes_skus_and_keys_in_one_order() {
    let service = TestService::new().await;
    // Two batches that took them in the order of their items could wait for each other.
    for statement in [
        "create table taken (position bigserial, what text, value text)",
        "create function note() returns trigger language plpgsql as $$
         begin
             insert into public.taken (what, value) values (tg_argv[0], to_jsonb(new)->>tg_argv[0]);
             return new;
         end $$",
        "create trigger note before insert on inventory.products
         for each row execute function note('sku')",
        "create trigger note before insert on inventory.idempotency
         for each row execute function note('key')",
    ] {
        sqlx::query(statement).execute(&service.pool).await.unwrap();
    }
    let skus = ["Z", "A", "M", "B", "Y", "C", "X", "D", "W", "E", "V"];
    let items = json!({"items": skus.map(shoe)});
    let call = Call::post("/v1/products/batch").header("idempotency-key", "k").json(&items);
    service.send(call).await.expect(200);
    let taken = async |what: &str| -> Vec<String> {
        let taken = sqlx::query_scalar("select value from taken where what = $1 order by position");
        taken.bind(what).fetch_all(&service.pool).await.unwrap()
    };
    assert_eq!(taken("sku").await, ["A", "B", "C", "D", "E", "M", "V", "W", "X", "Y", "Z"]);
    let keys = taken("key").await;
    assert!(keys.len() == skus.len() && keys.is_sorted(), "{keys:?}");
}
