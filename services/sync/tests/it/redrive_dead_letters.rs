use serde_json::{Value, json};
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, OPERATOR, TestBed};

#[tokio::test]
async fn redriven_dead_letters_are_delivered_and_audited() {
    let (bed, id) = TestBed::with_dead_letters().await;
    let letters = bed.dead_letters().await;
    let call = Call::post(&format!("{DEAD_LETTERS}/redrive")).json(&json!({"all": true}));
    let settled = bed.ask_as_operator(call).await.expect(200);
    assert_eq!(settled.json, json!({"matched": 2, "settled": 2, "dry_run": false}));
    assert_eq!(bed.dead_letters().await, Vec::<Value>::new());
    bed.mend().await;
    bed.arrive().await;
    bed.check_listing(id).await;
    let expected: Vec<_> = letters
        .iter()
        .map(|letter| (OPERATOR.to_string(), "redrive".to_owned(), letter["id"].as_i64().unwrap()))
        .collect();
    assert_eq!(bed.audit().await, expected);
}

#[tokio::test]
async fn redrive_with_a_limit_begins_with_the_oldest() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let letters = bed.dead_letters().await;
    let call = Call::post(&format!("{DEAD_LETTERS}/redrive"));
    let settled = bed.ask_as_operator(call.json(&json!({"all": true, "limit": 1}))).await;
    assert_eq!(settled.expect(200).json, json!({"matched": 1, "settled": 1, "dry_run": false}));
    assert_eq!(bed.dead_letters().await, letters[1..]);
}

#[tokio::test]
async fn unreadable_message_is_a_dead_letter_again_after_redrive() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let letters = bed.dead_letters().await;
    let call = Call::post(&format!("{DEAD_LETTERS}/redrive"));
    let call = call.json(&json!({"ids": [letters[0]["id"]]}));
    bed.ask_as_operator(call).await.expect(200);
    bed.project().await;
    let again = bed.dead_letters().await;
    let of = |letter: &Value| (letter["event_id"].clone(), letter["reason"].clone());
    assert_eq!(again.len(), 2);
    assert!(again.iter().any(|letter| of(letter) == of(&letters[0])), "{again:?}");
}
