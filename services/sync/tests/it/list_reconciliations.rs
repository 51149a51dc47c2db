use std::time::Duration;

use serde_json::{Value, json};
use shared::id::RunId;
use testkit::Call;

use crate::test_bed::{RECONCILIATIONS, TestBed};

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let bed = TestBed::new().await;
    let mut requested = Vec::new();
    for _ in 0..3 {
        let call = Call::post(RECONCILIATIONS).json(&json!({}));
        let response = bed.ask_as_operator(call).await.expect(202);
        requested.push(response.json["id"].clone());
        bed.clock.advance(Duration::from_secs(1));
    }
    requested.reverse();
    let call = Call::get(&format!("{RECONCILIATIONS}?limit=2"));
    let first = bed.ask_as_operator(call).await.expect(200);
    assert!(first.header("link").contains("rel=\"next\""));
    let cursor = first.json["page"]["next_cursor"].as_str().unwrap();
    let call = Call::get(&format!("{RECONCILIATIONS}?limit=2&cursor={cursor}"));
    let second = bed.ask_as_operator(call).await.expect(200);
    assert_eq!(second.json["page"]["has_more"], false);
    let all: Vec<Value> = [first.json, second.json]
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|run| run["id"].clone())
        .collect();
    assert_eq!(all, requested);
}

#[tokio::test]
async fn finished_run_is_kept_for_ninety_days() {
    let bed = TestBed::new().await;
    let first = bed.reconcile(false).await.id;
    let ids = async || -> Vec<RunId> {
        let listed = bed.ask_as_operator(Call::get(RECONCILIATIONS)).await.expect(200);
        let runs = listed.json["data"].as_array().unwrap().iter();
        runs.map(|run| run["id"].as_str().unwrap().parse().unwrap()).collect()
    };
    bed.clock.advance(Duration::from_hours(24 * 90));
    let second = bed.reconcile(false).await.id;
    assert_eq!(ids().await, [second, first]);
    bed.clock.advance(Duration::from_secs(1));
    let third = bed.reconcile(false).await.id;
    assert_eq!(ids().await, [third, second]);
}

#[tokio::test]
async fn list_has_the_runs_as_they_are_read() {
    let bed = TestBed::new().await;
    let call = Call::post(RECONCILIATIONS).json(&json!({}));
    let run = bed.ask_as_operator(call).await.expect(202).json;
    let listed = bed.ask_as_operator(Call::get(RECONCILIATIONS)).await.expect(200);
    let expected = json!({"data": [run], "page": {"next_cursor": null, "has_more": false}});
    assert_eq!(listed.json, expected);
}

#[tokio::test]
async fn invalid_page_of_runs_is_refused() {
    let bed = TestBed::new().await;
    for query in ["limit=0", "limit=101", "unknown=1"] {
        let call = Call::get(&format!("{RECONCILIATIONS}?{query}"));
        let refused = bed.ask_as_operator(call).await.expect(400);
        assert_eq!(refused.code(), "malformed_request", "{query}");
        let name = query.split('=').next().unwrap();
        assert!(refused.json["detail"].as_str().unwrap().contains(name), "{}", refused.text);
    }
    let call = Call::get(&format!("{RECONCILIATIONS}?cursor=nonsense"));
    assert_eq!(bed.ask_as_operator(call).await.expect(400).code(), "invalid_cursor");
}
