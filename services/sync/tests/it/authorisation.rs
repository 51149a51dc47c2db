use serde_json::json;
use shared::http::auth::Role;
use testkit::Call;

use crate::test_bed::{DEAD_LETTERS, OPERATOR, RECONCILIATIONS, TestBed};

#[tokio::test]
async fn only_operators_read_or_request_runs() {
    let bed = TestBed::new().await;
    let one = format!("{RECONCILIATIONS}/{OPERATOR}");
    for role in [Role::Buyer, Role::Seller] {
        for call in [
            Call::post(RECONCILIATIONS).json(&json!({})),
            Call::get(RECONCILIATIONS),
            Call::get(&one),
        ] {
            bed.ask_as(role, call).await.expect(403);
        }
    }
    bed.ask_as_operator(Call::get(&one)).await.expect(404);
    let call = Call::post(RECONCILIATIONS).json(&json!({"depth": 3}));
    bed.ask_as_operator(call).await.expect(422);
}

#[tokio::test]
async fn only_operators_trace_changes_or_settle_dead_letters() {
    let (bed, id) = TestBed::with_dead_letters().await;
    let before = bed.dead_letters().await;
    let all = json!({"all": true});
    for role in [Role::Buyer, Role::Seller] {
        for call in [
            Call::get(&format!("/v1/admin/trace/{id}")),
            Call::get("/v1/admin/queues"),
            Call::get(DEAD_LETTERS),
            Call::get(&format!("{DEAD_LETTERS}/{}", before[0]["id"])),
            Call::post(&format!("{DEAD_LETTERS}/redrive")).json(&all),
            Call::post(&format!("{DEAD_LETTERS}/discard")).json(&all),
        ] {
            let refused = bed.ask_as(role, call).await.expect(403);
            assert_eq!(refused.json["detail"], "this requires the role operator");
        }
    }
    assert_eq!(bed.dead_letters().await, before);
}
