//! Every currency, each with an amount of its own.

use serde_json::{Value, json};
use shared::money::Currency;
use testkit::{Call, three_letter_codes};

use crate::{TestService, shoe};

/// Every currency that a price may have.
fn currencies() -> Vec<Currency> {
    three_letter_codes().filter_map(|code| code.parse().ok()).collect()
}

#[tokio::test]
async fn every_currency_is_created_listed_changed_and_announced() {
    let service = TestService::new().await;
    let currencies = currencies();
    assert!(currencies.len() > 150, "{}", currencies.len());
    // Neighbours have different currencies and amounts.
    let priced = |nth: usize, amount: usize| json!({"amount": amount, "currency": currencies[nth % currencies.len()].code()});
    let items: Vec<Value> = (0..currencies.len())
        .map(|nth| {
            let mut item = shoe(currencies[nth].code());
            item["price"] = priced(nth, 1_000 + nth);
            item
        })
        .collect();
    let mut ids = Vec::new();
    for items in items.chunks(100) {
        let call = Call::post("/v1/products/batch").json(&json!({"items": items}));
        let created = service.send(call).await.expect(200);
        for (item, result) in items.iter().zip(created.json["results"].as_array().unwrap()) {
            assert_eq!(result["product"]["price"], item["price"], "{result}");
            ids.push(result["product"]["id"].as_str().unwrap().to_owned());
        }
    }
    let mut listed = 0;
    let mut path = "/v1/products?limit=100".to_owned();
    while !path.is_empty() {
        let page = service.send(Call::get(&path)).await.expect(200);
        for product in page.json["data"].as_array().unwrap() {
            let nth = ids.iter().position(|id| product["id"] == **id).unwrap();
            assert_eq!(product["price"], priced(nth, 1_000 + nth));
            listed += 1;
        }
        path = page.header("link").split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    }
    assert_eq!(listed, currencies.len());
    // Each takes the currency of the next and keeps its amount.
    for (nth, id) in ids.iter().enumerate() {
        let price = json!({"price": {"currency": priced(nth + 1, 0)["currency"]}});
        let call = Call::patch(&format!("/v1/products/{id}")).header("if-match", "\"v1\"");
        let changed = service.send(call.json(&price)).await.expect(200);
        assert_eq!(changed.json["price"], priced(nth + 1, 1_000 + nth), "{id}");
    }
    let events: Vec<(String, i64, Value)> = sqlx::query_as(
        "select aggregate_id::text, version, event->'data'->'product'->'price'
         from inventory.journal order by aggregate_id, version",
    )
    .fetch_all(&service.pool)
    .await
    .unwrap();
    assert_eq!(events.len(), 2 * currencies.len());
    for (id, version, price) in events {
        let nth = ids.iter().position(|known| *known == id).unwrap();
        let currency = if version == 1 { nth } else { nth + 1 };
        assert_eq!(price, priced(currency, 1_000 + nth), "{id} at version {version}");
    }
}

#[tokio::test]
async fn currency_is_refused_unless_it_is_written_as_in_iso_4217() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let path = created.header("location");
    for code in ["brl", "Brl", "BRL ", " BRL", "BR", "BRLL", "", "R$", "XXX", "XTS", "XAU", "986"] {
        let mut body = shoe("SHOE-2");
        body["price"]["currency"] = json!(code);
        let create = service.send(Call::post("/v1/products").json(&body)).await.expect(422);
        let patch = Call::patch(path).header("if-match", "*");
        let patch = patch.json(&json!({"price": {"currency": code}}));
        for refused in [create, service.send(patch).await.expect(422)] {
            let faults = refused.json["errors"].as_array().unwrap();
            assert_eq!(faults.len(), 1, "{code:?}: {}", refused.text);
            assert_eq!(faults[0]["pointer"], "/price/currency", "{code:?}");
        }
    }
    assert_eq!(service.send(Call::get(path)).await.expect(200).json, created.json);
}
