use std::time::Duration;

use serde_json::json;
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::{Call, TestResponse};

use crate::{TestService, assert_problem};

async fn outbox(service: &TestService, role: Role) -> TestResponse {
    let token = service.tokens.token(UserId::from_u128(1), role);
    Call::get("/v1/admin/outbox").bearer(&token).send(&service.router).await
}

#[tokio::test]
async fn backlog_counts_pending_events_and_repairs() {
    let service = TestService::new().await;
    let empty = json!({"pending": 0, "oldest_committed_at": null, "repairs": 0});
    assert_eq!(outbox(&service, Role::Operator).await.expect(200).json, empty);
    let oldest = service.clock.now();
    service.create("SHOE-1").await;
    service.clock.advance(Duration::from_secs(1));
    let created = service.create("SHOE-2").await;
    service.request_repair(created.json["id"].as_str().unwrap().parse().unwrap(), 1).await;
    let backlog = json!({"pending": 2, "oldest_committed_at": oldest, "repairs": 1});
    assert_eq!(outbox(&service, Role::Operator).await.expect(200).json, backlog);
}

#[tokio::test]
async fn only_operators_read_the_backlog() {
    let service = TestService::new().await;
    for role in [Role::Buyer, Role::Seller] {
        let refused = outbox(&service, role).await;
        assert_problem(&refused, 403);
        assert_eq!(refused.json["detail"], "this requires the role operator");
    }
    assert_problem(&Call::get("/v1/admin/outbox").send(&service.router).await, 401);
}
