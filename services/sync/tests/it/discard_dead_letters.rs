use serde_json::json;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, OPERATOR, TestBed};

#[tokio::test]
async fn discarded_dead_letter_is_gone_and_audited() {
    let (bed, id) = TestBed::with_dead_letters().await;
    let letters = bed.dead_letters().await;
    let call = Call::post(&format!("{DEAD_LETTERS}/discard"));
    let call = call.json(&json!({"type": "StockChanged"}));
    let settled = bed.ask_as_operator(call).await.expect(200);
    assert_eq!(settled.json, json!({"matched": 1, "settled": 1, "dry_run": false}));
    assert_eq!(bed.dead_letters().await, letters[..1]);
    let discarded = letters[1]["id"].as_i64().unwrap();
    let expected = (OPERATOR.to_string(), "discard".to_owned(), discarded);
    assert_eq!(bed.audit().await, [expected]);
    // It is not in the queue either: its message, still unreadable, would become a dead letter again.
    bed.project().await;
    assert_eq!(bed.dead_letters().await, letters[..1]);
    assert_eq!(bed.listing(id).await, None);
}

#[tokio::test]
async fn discard_of_nothing_that_matches_settles_nothing() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let call = Call::post(&format!("{DEAD_LETTERS}/discard"));
    let call = call.json(&json!({"type": "ProductDeleted"}));
    let settled = bed.ask_as_operator(call).await.expect(200);
    assert_eq!(settled.json, json!({"matched": 0, "settled": 0, "dry_run": false}));
    assert_eq!(bed.dead_letters().await.len(), 2);
}
