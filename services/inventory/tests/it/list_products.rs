use std::time::Duration;

use serde_json::{Value, json};
use testkit::Call;

use crate::{TestService, assert_problem};

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
        assert_problem(&service.send(Call::get(&format!("/v1/products?{query}"))).await, 400);
    }
    let page = service.send(Call::get("/v1/products?limit=1")).await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    for broken in ["x", "", &cursor[1..], &format!("{cursor}A")] {
        let answer = service.send(Call::get(&format!("/v1/products?cursor={broken}"))).await;
        assert_problem(&answer, 400);
        assert_eq!(answer.code(), "invalid_cursor", "{broken}");
    }
    let other = format!("/v1/products?status=active&cursor={cursor}");
    assert_eq!(service.send(Call::get(&other)).await.code(), "invalid_cursor");
}
