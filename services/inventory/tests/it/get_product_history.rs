use std::time::Duration;

use serde_json::json;
use shared::id::ProductId;
use testkit::Call;

use crate::{TestService, assert_problem, path_of};

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
    assert_eq!(entries[1]["actor"], json!(service.user_id));
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
async fn entry_has_the_version_actor_time_and_product() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let history = service.send(Call::get(&format!("{}/history", path_of(&created)))).await;
    let expected = json!({
        "data": [{
            "version": 1, "at": service.clock.now(), "actor": service.user_id,
            "change": "created", "product": created.json,
        }],
        "page": {"next_cursor": null, "has_more": false},
    });
    assert_eq!(history.expect(200).json, expected);
}

#[tokio::test]
async fn invalid_history_requests_are_refused() {
    let service = TestService::new().await;
    let unknown = Call::get(&format!("/v1/products/{}/history", ProductId::from_u128(1)));
    assert_problem(&service.send(unknown).await, 404);
    let (one, other) = (service.create("SHOE-1").await, service.create("SHOE-2").await);
    let call = Call::patch(&path_of(&one)).header("if-match", "*").json(&json!({"name": "New"}));
    service.send(call).await.expect(200);
    let history = |product, query: &str| format!("{}/history?{query}", path_of(product));
    for query in ["limit=0", "limit=101", "as_of=yesterday", "unknown=1", "cursor=nonsense"] {
        assert_problem(&service.send(Call::get(&history(&one, query))).await, 400);
    }
    let page = service.send(Call::get(&history(&one, "limit=1"))).await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    let call = Call::get(&history(&other, &format!("cursor={cursor}")));
    assert_eq!(service.send(call).await.expect(400).code(), "invalid_cursor");
}
