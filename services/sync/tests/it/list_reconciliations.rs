use std::time::Duration;

use serde_json::{Value, json};
use testkit::Call;

use crate::test_bed::{RECONCILIATIONS, TestBed};

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let bed = TestBed::new().await;
    let mut requested = Vec::new();
    for _ in 0..3 {
        let call = Call::post(RECONCILIATIONS).json(&json!({}));
        let answer = bed.ask_as_operator(call).await.expect(202);
        requested.push(answer.json["id"].clone());
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
