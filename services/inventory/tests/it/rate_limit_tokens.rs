//! The rate limit and every hostile token: only a verified token chooses the client that is counted.

use axum::Router;
use shared::http::auth::Role;
use testkit::Call;

use crate::TestService;
use crate::rate_limit::{LIMITED, from_peer, limit};

async fn status(router: &Router, token: Option<&str>) -> u16 {
    let call = Call::get("/v1/products");
    let call = if let Some(token) = token { call.bearer(token) } else { call };
    call.send(router).await.status.as_u16()
}

#[tokio::test]
async fn hostile_token_uses_up_the_limit_of_its_address_alone() {
    let service = TestService::new().await;
    for (what, hostile) in service.tokens.hostile(service.user_id, &Role::ALL) {
        let limited = limit(LIMITED, &service);
        let router = |last| from_peer([192, 0, 2, last], limited.clone());
        for _ in 0..3 {
            assert_eq!(status(&router(1), Some(&hostile)).await, 401, "{what}");
        }
        assert_eq!(status(&router(1), Some(&hostile)).await, 429, "{what}");
        assert_eq!(status(&router(1), None).await, 429, "{what}: its address is the client");
        assert_eq!(status(&router(2), Some(&hostile)).await, 401, "{what}: another address");
        // The subject that it names has its limit left, at the same address and at others.
        for last in [1, 2, 3] {
            assert_eq!(status(&router(last), Some(&service.seller)).await, 200, "{what}");
        }
        assert_eq!(status(&router(4), Some(&service.seller)).await, 429, "{what}");
    }
}

#[tokio::test]
async fn valid_token_without_the_role_counts_as_its_subject() {
    let service = TestService::new().await;
    for (what, token) in service.tokens.without_role(service.user_id, Role::Seller) {
        let limited = limit(LIMITED, &service);
        let router = |last| from_peer([192, 0, 2, last], limited.clone());
        for last in 1..=3 {
            assert_eq!(status(&router(last), Some(&token)).await, 403, "{what}");
        }
        assert_eq!(status(&router(4), Some(&service.seller)).await, 429, "{what}");
        assert_eq!(status(&router(1), None).await, 401, "{what}");
    }
}
