use std::num::NonZeroU32;

use axum::Router;
use axum::extract::ConnectInfo;
use shared::host;
use shared::http::auth::Role;
use shared::http::rate_limit::{RateLimit, RateLimitConfig};
use shared::id::Ids;
use testkit::{Answer, Call};
use uuid::Uuid;

use crate::World;

/// A router that lets everybody ask three times.
fn limited(world: &World, peer: [u8; 4]) -> Router {
    limited_to(3, world, peer)
}

fn limited_to(per_second: u32, world: &World, peer: [u8; 4]) -> Router {
    let config = RateLimitConfig {
        per_second: NonZeroU32::new(per_second),
        trusted_proxies: 0,
        expensive_paths: &["/expensive"],
    };
    let limit = RateLimit::new(config, Some(world.tokens.verifier()));
    let router = host::server::with_rate_limit(world.router.clone(), &limit);
    let peer = std::net::SocketAddr::from((peer, 1));
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    host::server::with_standard_layers(router, &world.clock, &Ids::seeded(3))
}

async fn ask(router: &Router, token: Option<&str>) -> Answer {
    let call = Call::get("/v1/products").header("x-forwarded-for", &Uuid::nil().to_string());
    let call = token.map_or(call, |token| Call::get("/v1/products").bearer(token));
    call.send(router).await
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_nobody_else_suffers() {
    let world = World::new().await;
    let router = limited(&world, [192, 0, 2, 1]);
    let stranger = world.tokens.token(Uuid::from_u128(9), Role::Seller);
    for _ in 0..3 {
        ask(&router, Some(&world.seller)).await.expect(200);
    }
    let refused = ask(&router, Some(&world.seller)).await.expect(429);
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json["request_id"], refused.header("x-request-id"));
    ask(&router, Some(&stranger)).await.expect(200);
}

#[tokio::test]
async fn without_a_good_token_the_peer_counts_whatever_the_headers_say() {
    let world = World::new().await;
    let router = limited(&world, [192, 0, 2, 2]);
    ask(&router, None).await.expect(401);
    ask(&router, Some("forged")).await.expect(401);
    ask(&router, Some("forged otherwise")).await.expect(401);
    ask(&router, None).await.expect(429);
    ask(&router, Some("forged again")).await.expect(429);
}

#[tokio::test]
async fn a_dear_request_counts_for_twenty_others_and_never_for_more_than_there_are() {
    let world = World::new().await;
    // Nothing is served there: that is told to whoever is let in.
    let ask = async |router: &Router, path: &str| Call::get(path).send(router).await;
    let router = limited_to(20, &world, [192, 0, 2, 3]);
    ask(&router, "/expensive").await.expect(404);
    // It is a second until there are twenty again.
    let refused = ask(&router, "/expensive").await.expect(429);
    assert_eq!(refused.header("retry-after"), "1");

    let narrow = limited(&world, [192, 0, 2, 4]);
    ask(&narrow, "/expensive").await.expect(404);
    ask(&narrow, "/expensive").await.expect(429);

    // What is beside it counts as anything else.
    let other = limited(&world, [192, 0, 2, 5]);
    for _ in 0..3 {
        ask(&other, "/expensive/not").await.expect(404);
    }
}
