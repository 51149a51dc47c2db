use std::num::NonZeroU32;

use axum::Router;
use axum::extract::ConnectInfo;
use shared::host;
use shared::http::auth::Role;
use shared::http::rate_limit::{RateLimit, RateLimitConfig};
use shared::id::{Ids, UserId};
use testkit::{Call, TestResponse};
use uuid::Uuid;

use crate::TestService;

/// A router that accepts three requests a second from each client.
fn limited(service: &TestService, peer: [u8; 4]) -> Router {
    limited_to(3, service, peer)
}

fn limited_to(per_second: u32, service: &TestService, peer: [u8; 4]) -> Router {
    let config = RateLimitConfig {
        per_second: NonZeroU32::new(per_second),
        trusted_proxies: 0,
        expensive_paths: &["/expensive"],
    };
    let limit = RateLimit::new(config, Some(service.tokens.verifier()));
    let router = host::server::with_rate_limit(service.router.clone(), &limit);
    let peer = std::net::SocketAddr::from((peer, 1));
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    host::server::with_standard_layers(router, &service.clock, &Ids::seeded(3))
}

async fn ask(router: &Router, token: Option<&str>) -> TestResponse {
    let call = Call::get("/v1/products").header("x-forwarded-for", &Uuid::nil().to_string());
    let call = token.map_or(call, |token| Call::get("/v1/products").bearer(token));
    call.send(router).await
}

#[tokio::test]
async fn rate_limit_refuses_one_subject_with_retry_after() {
    let service = TestService::new().await;
    let router = limited(&service, [192, 0, 2, 1]);
    let stranger = service.tokens.token(UserId::from_u128(9), Role::Seller);
    for _ in 0..3 {
        ask(&router, Some(&service.seller)).await.expect(200);
    }
    let refused = ask(&router, Some(&service.seller)).await.expect(429);
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json["request_id"], refused.header("x-request-id"));
    ask(&router, Some(&stranger)).await.expect(200);
}

#[tokio::test]
async fn rate_limit_counts_the_peer_without_a_valid_token() {
    let service = TestService::new().await;
    let router = limited(&service, [192, 0, 2, 2]);
    ask(&router, None).await.expect(401);
    ask(&router, Some("forged")).await.expect(401);
    ask(&router, Some("forged otherwise")).await.expect(401);
    ask(&router, None).await.expect(429);
    ask(&router, Some("forged again")).await.expect(429);
}

#[tokio::test]
async fn expensive_request_counts_as_twenty_up_to_the_limit() {
    let service = TestService::new().await;
    // The path does not exist, so an accepted request gets a 404.
    let ask = async |router: &Router, path: &str| Call::get(path).send(router).await;
    let router = limited_to(20, &service, [192, 0, 2, 3]);
    ask(&router, "/expensive").await.expect(404);
    // The twenty requests are available again after a second.
    let refused = ask(&router, "/expensive").await.expect(429);
    assert_eq!(refused.header("retry-after"), "1");

    let narrow = limited(&service, [192, 0, 2, 4]);
    ask(&narrow, "/expensive").await.expect(404);
    ask(&narrow, "/expensive").await.expect(429);

    // A path below it counts as an ordinary request.
    let other = limited(&service, [192, 0, 2, 5]);
    for _ in 0..3 {
        ask(&other, "/expensive/not").await.expect(404);
    }
}
