use std::time::Duration;

use serde_json::{Value, json};
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

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
async fn invalid_cursors_and_parameters_are_refused() {
    let service = TestService::new().await;
    for n in 0..3 {
        service.create(&format!("SHOE-{n}")).await;
    }
    for query in ["limit=0", "limit=101", "limit=x", "unknown=1", "limit=1&limit=2", "status=x"] {
        let refused = service.send(Call::get(&format!("/v1/products?{query}"))).await;
        assert_problem(&refused, 400);
        assert_eq!(refused.code(), "malformed_request", "{query}");
        let name = query.split('=').next().unwrap();
        assert!(refused.json["detail"].as_str().unwrap().contains(name), "{}", refused.text);
    }
    let page = service.send(Call::get("/v1/products?limit=1")).await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    for broken in ["x", "", &cursor[1..], &format!("{cursor}A")] {
        let response = service.send(Call::get(&format!("/v1/products?cursor={broken}"))).await;
        assert_problem(&response, 400);
        assert_eq!(response.code(), "invalid_cursor", "{broken}");
    }
    let other = format!("/v1/products?status=active&cursor={cursor}");
    assert_eq!(service.send(Call::get(&other)).await.code(), "invalid_cursor");
}

#[tokio::test]
async fn page_has_the_products_as_they_are_read() {
    let service = TestService::new().await;
    let older = service.create("SHOE-1").await;
    service.clock.advance(Duration::from_millis(5));
    let newer = service.create("SHOE-2").await;
    let expected = json!({
        "data": [newer.json, older.json], "page": {"next_cursor": null, "has_more": false},
    });
    assert_eq!(service.send(Call::get("/v1/products")).await.expect(200).json, expected);
}

#[tokio::test]
async fn status_and_sku_filters_are_combined() {
    let service = TestService::new().await;
    let (active, archived) = (service.create("SHOE-1").await, service.create("SHOE-2").await);
    let call = Call::patch(&path_of(&archived)).header("if-match", "*");
    let archived = service.send(call.json(&json!({"status": "archived"}))).await.expect(200);
    for (filters, expected) in [
        ("status=active", json!([active.json])),
        ("status=archived", json!([archived.json])),
        ("sku=SHOE-2", json!([archived.json])),
        ("sku=SHOE-2&status=archived", json!([archived.json])),
        ("sku=SHOE-2&status=active", json!([])),
        ("sku=SHOE-3", json!([])),
    ] {
        let list = service.send(Call::get(&format!("/v1/products?{filters}"))).await.expect(200);
        assert_eq!(list.json["data"], expected, "{filters}");
    }
}
