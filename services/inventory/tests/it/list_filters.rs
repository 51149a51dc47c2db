//! Every combination of the filters of the seller's list, and every cursor under every other combination.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::contract::product::Status;
use testkit::Call;

use crate::{TestService, path_of};

/// Two products of each status, and one that is deleted.
async fn plant(service: &TestService) -> Vec<Value> {
    let mut products = Vec::new();
    for nth in 0..2 {
        for status in Status::ALL {
            let created = service.create(&format!("{}-{nth}", status.as_str())).await;
            let call = Call::patch(&path_of(&created)).header("if-match", "*");
            let call = call.json(&json!({"status": status}));
            products.insert(0, service.send(call).await.expect(200).json);
            service.clock.advance(std::time::Duration::from_millis(5));
        }
    }
    let deleted = path_of(&service.create("deleted").await);
    service.send(Call::delete(&deleted).header("if-match", "*")).await.expect(204);
    products
}

/// The values of each filter; an empty one leaves it out.
fn queries() -> Vec<String> {
    let mut queries = Vec::new();
    let statuses = std::iter::once("").chain(Status::ALL.map(Status::as_str));
    for status in statuses {
        for sku in ["", "draft-0", "active-1", "archived-0", "deleted", "ACTIVE-1"] {
            let filters = [("status", status), ("sku", sku)];
            let filters = filters.iter().filter(|(_, value)| !value.is_empty());
            let filters: Vec<String> =
                filters.map(|(name, value)| format!("{name}={value}")).collect();
            queries.push(filters.join("&"));
        }
    }
    queries
}

#[test]
fn every_filter_of_the_list_has_a_value() {
    let api = serde_json::to_value(inventory::routes().to_openapi()).unwrap();
    let parameters = api["paths"]["/v1/products"]["get"]["parameters"].as_array().unwrap();
    let names: BTreeSet<&str> =
        parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["status", "sku", "limit", "cursor"]));
}

#[tokio::test]
async fn list_has_the_products_that_match_every_filter() {
    let service = TestService::new().await;
    let products = plant(&service).await;
    for query in queries() {
        let matches = |product: &&Value| {
            query
                .split('&')
                .filter_map(|filter| filter.split_once('='))
                .all(|(name, value)| product[name] == value)
        };
        let expected: Vec<&Value> = products.iter().filter(matches).collect();
        let listed = service.send(Call::get(&format!("/v1/products?{query}"))).await.expect(200);
        assert_eq!(listed.json["data"], json!(expected), "{query}");
    }
}

#[tokio::test]
async fn cursor_is_refused_under_every_other_combination_of_filters() {
    let service = TestService::new().await;
    plant(&service).await;
    let mut cursors = 0;
    for query in queries() {
        let first = service.send(Call::get(&format!("/v1/products?limit=1&{query}"))).await;
        let first = first.expect(200).json;
        let Some(cursor) = first["page"]["next_cursor"].as_str() else { continue };
        cursors += 1;
        for other in queries() {
            let call = Call::get(&format!("/v1/products?cursor={cursor}&{other}"));
            let response = service.send(call).await;
            if other == query {
                let next = response.expect(200).json["data"].as_array().unwrap().len();
                assert!(next >= 1, "{query}");
            } else {
                assert_eq!(response.expect(400).code(), "invalid_cursor", "{query}, then {other}");
            }
        }
    }
    assert_eq!(cursors, 1 + Status::ALL.len());
}
