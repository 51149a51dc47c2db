use serde_json::json;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, TestBed};

#[tokio::test]
async fn dead_letter_is_shown_with_its_message() {
    let (bed, _) = TestBed::with_dead_letters().await;
    let mut expected = bed.dead_letters().await.swap_remove(0);
    let body: String = sqlx::query_scalar("select body from bus.dead_letters order by id limit 1")
        .fetch_one(&bed.database.pool)
        .await
        .unwrap();
    assert!(body.starts_with("#{"), "{body}");
    expected["body"] = json!(body);
    let call = Call::get(&format!("{DEAD_LETTERS}/{}", expected["id"]));
    assert_eq!(bed.ask_as_operator(call).await.expect(200).json, expected);
}

#[tokio::test]
async fn unknown_or_invalid_id_of_a_dead_letter_is_not_found() {
    let (bed, _) = TestBed::with_dead_letters().await;
    for id in ["0", "-1", "x", "9223372036854775807", "9223372036854775808"] {
        let call = Call::get(&format!("{DEAD_LETTERS}/{id}"));
        assert_eq!(bed.ask_as_operator(call).await.expect(404).code(), "not_found", "{id}");
    }
}
