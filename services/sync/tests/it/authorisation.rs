use serde_json::json;
use shared::http::auth::Role;
use testkit::Call;

use crate::test_bed::{OPERATOR, RECONCILIATIONS, TestBed};

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
