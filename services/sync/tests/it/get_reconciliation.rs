use serde_json::json;
use testkit::Call;

use crate::test_bed::{OPERATOR, RECONCILIATIONS, TestBed};

#[tokio::test]
async fn operator_requests_a_run_and_follows_it_to_its_end() {
    let (bed, ids) = TestBed::with_products(3).await;
    bed.remove(ids[0]).await;
    let call = Call::post(RECONCILIATIONS).json(&json!({"deep": true}));
    let response = bed.ask_as_operator(call).await.expect(202);
    let body = &response.json;
    assert_eq!((&body["state"], &body["deep"]), (&json!("pending"), &json!(true)));

    bed.round().await;
    let call = Call::get(response.header("location"));
    let body = bed.ask_as_operator(call).await.expect(200).json;
    assert_eq!(body["state"], "finished");
    assert_eq!(body["progress"], json!({"buckets_done": 1024, "buckets": 1024}));
    assert_eq!((&body["compared"], &body["missing"]), (&json!(3), &json!(1)));
    assert_eq!(body["repaired"], 1);
    assert_eq!(body["requested_by"], json!(OPERATOR));
}

#[tokio::test]
async fn unknown_or_invalid_id_of_a_run_is_not_found() {
    let bed = TestBed::new().await;
    for id in [OPERATOR.to_string(), "x".to_owned()] {
        let call = Call::get(&format!("{RECONCILIATIONS}/{id}"));
        assert_eq!(bed.ask_as_operator(call).await.expect(404).code(), "not_found", "{id}");
    }
}
