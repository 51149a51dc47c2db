use serde_json::json;
use testkit::Call;

use crate::test_bed::{OPERATOR, RECONCILIATIONS, TestBed};

#[tokio::test]
async fn accepted_run_is_pending_at_its_location() {
    let bed = TestBed::new().await;
    let call = Call::post(RECONCILIATIONS).json(&json!({}));
    let response = bed.ask_as_operator(call).await.expect(202);
    let id = response.json["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "state": "pending", "deep": false, "requested_at": bed.clock.now(),
        "requested_by": OPERATOR, "started_at": null, "finished_at": null,
        "progress": {"buckets_done": 0, "buckets": 1024}, "compared": 0, "missing": 0,
        "stale": 0, "ahead": 0, "extra": 0, "altered": 0, "stock": 0, "moving": 0,
        "repaired": 0, "oldest_divergence": null, "read_units": 0.0,
    });
    assert_eq!(response.json, expected);
    assert_eq!(response.header("location"), format!("{RECONCILIATIONS}/{id}"));
    let read = bed.ask_as_operator(Call::get(response.header("location"))).await.expect(200);
    assert_eq!(read.json, expected);
}

#[tokio::test]
async fn invalid_request_for_a_run_is_refused() {
    let bed = TestBed::new().await;
    for (body, pointer) in [(json!({"deep": "yes"}), "/deep"), (json!({"depth": 3}), "/depth")] {
        let call = Call::post(RECONCILIATIONS).json(&body);
        let refused = bed.ask_as_operator(call).await.expect(422);
        assert_eq!(refused.json["errors"][0]["pointer"], pointer);
    }
    let listed = bed.ask_as_operator(Call::get(RECONCILIATIONS)).await.expect(200);
    assert_eq!(listed.json["data"], json!([]));
}
