use std::time::Duration;

use serde_json::json;
use testkit::Call;

use crate::test_bed::TestBed;

#[tokio::test]
async fn queue_counts_its_messages_and_dead_letters() {
    let bed = TestBed::new().await;
    let queues = async || bed.ask_as_operator(Call::get("/v1/admin/queues")).await.expect(200).json;
    let empty = json!({
        "queue": "catalog", "visible": 0, "in_flight": 0, "dead_letters": 0,
        "oldest_sent_at": null,
    });
    assert_eq!(queues().await, json!({"data": [empty]}));
    bed.create("SKU-0", "shoes").await;
    bed.make_dead_letters().await;
    bed.clock.advance(Duration::from_mins(1));
    let sent_at = bed.clock.now();
    for sku in ["SKU-1", "SKU-2"] {
        bed.create(sku, "shoes").await;
    }
    bed.publish().await;
    bed.clock.advance(Duration::from_mins(1));
    let filled = json!({
        "queue": "catalog", "visible": 2, "in_flight": 0, "dead_letters": 1,
        "oldest_sent_at": sent_at,
    });
    assert_eq!(queues().await, json!({"data": [filled]}));
}
