use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use serde_json::json;
use shared::host;
use shared::http::auth::Role;
use shared::http::rate_limit::{RateLimit, RateLimitConfig};
use shared::id::{Ids, UserId};
use testkit::{Call, TestResponse, Tokens};
use uuid::Uuid;

use crate::TestService;

pub(crate) const LIMITED: RateLimitConfig = RateLimitConfig {
    per_second: NonZeroU32::new(3),
    trusted_proxies: 0,
    expensive_paths: &["/expensive"],
};

/// A router that accepts three requests a second from each client.
fn limited(service: &TestService) -> Router {
    from_peer([192, 0, 2, 1], limit(LIMITED, service))
}

/// The routes behind a rate limit. Its clones share their counts.
pub(crate) fn limit(config: RateLimitConfig, service: &TestService) -> Router {
    let limit = RateLimit::new(config, Some(service.tokens.verifier()), &service.clock);
    let router = host::server::with_rate_limit(service.router.clone(), &limit);
    host::server::with_standard_layers(router, &service.clock, &Ids::seeded(3))
}

/// The router as a client at this address sees it.
pub(crate) fn from_peer(peer: [u8; 4], router: Router) -> Router {
    router.layer(axum::Extension(ConnectInfo(std::net::SocketAddr::from((peer, 1)))))
}

async fn ask(router: &Router, token: Option<&str>) -> TestResponse {
    let call = Call::get("/v1/products").header("x-forwarded-for", &Uuid::nil().to_string());
    let call = token.map_or(call, |token| Call::get("/v1/products").bearer(token));
    call.send(router).await
}

#[tokio::test]
async fn rate_limit_refuses_one_subject_with_retry_after() {
    let service = TestService::new().await;
    let router = limited(&service);
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
async fn request_is_accepted_again_when_its_share_of_time_is_over() {
    let service = TestService::new().await;
    let four = RateLimitConfig { per_second: NonZeroU32::new(4), ..LIMITED };
    let router = limit(four, &service);
    for _ in 0..4 {
        ask(&router, Some(&service.seller)).await.expect(200);
    }
    for _ in 0..3 {
        ask(&router, Some(&service.seller)).await.expect(429);
        service.clock.advance(Duration::from_micros(249_999));
        ask(&router, Some(&service.seller)).await.expect(429);
        service.clock.advance(Duration::from_micros(1));
        ask(&router, Some(&service.seller)).await.expect(200);
    }
    // However long a client is idle, it gets no more than that.
    service.clock.advance(Duration::from_mins(30));
    for _ in 0..4 {
        ask(&router, Some(&service.seller)).await.expect(200);
    }
    ask(&router, Some(&service.seller)).await.expect(429);
}

#[tokio::test]
async fn subject_is_one_client_with_any_token_and_address() {
    let service = TestService::new().await;
    let router = limit(LIMITED, &service);
    for nth in 0..3 {
        let claims = json!({"sub": service.user_id, "roles": ["seller"], "jti": nth});
        let token = service.tokens.with_claims(claims);
        ask(&from_peer([192, 0, 2, nth], router.clone()), Some(&token)).await.expect(200);
    }
    ask(&from_peer([192, 0, 2, 9], router), Some(&service.seller)).await.expect(429);
}

#[tokio::test]
async fn client_is_its_address_without_a_token() {
    let service = TestService::new().await;
    let router = limit(LIMITED, &service);
    for _ in 0..3 {
        ask(&from_peer([192, 0, 2, 1], router.clone()), None).await.expect(401);
    }
    ask(&from_peer([192, 0, 2, 1], router.clone()), None).await.expect(429);
    ask(&from_peer([192, 0, 2, 2], router), None).await.expect(401);
}

#[tokio::test]
async fn client_behind_a_trusted_proxy_is_what_the_proxy_wrote() {
    let service = TestService::new().await;
    let behind_one = RateLimitConfig { trusted_proxies: 1, ..LIMITED };
    let router = from_peer([192, 0, 2, 1], limit(behind_one, &service));
    let ask = async |claimed: u8, written: &str| {
        let list = format!("203.0.113.{claimed}, {written}");
        Call::get("/v1/products").header("x-forwarded-for", &list).send(&router).await
    };
    for nth in 0..3 {
        ask(nth, "198.51.100.1").await.expect(401);
    }
    ask(3, "198.51.100.1").await.expect(429);
    ask(3, "198.51.100.2").await.expect(401);
}

/// Makes a token that names a subject.
type MakeToken<'a> = Box<dyn Fn(UserId) -> String + 'a>;

#[tokio::test]
async fn invalid_token_does_not_choose_the_client() {
    let service = TestService::new().await;
    let (tokens, clock) = (&service.tokens, &service.clock);
    let (same_id, other_id) =
        (Tokens::with_key("test", clock.clone()), Tokens::with_key("other", clock.clone()));
    let role = Role::Seller;
    let expired = clock.now().timestamp() - 1;
    let kinds: [(&str, MakeToken); 6] = [
        ("no JWT", Box::new(|subject| format!("forged {subject}"))),
        ("another key", Box::new(|subject| same_id.token(subject, role))),
        ("an unknown key", Box::new(|subject| other_id.token(subject, role))),
        ("expired", Box::new(|sub| tokens.with_claims(json!({"sub": sub, "exp": expired})))),
        ("another audience", Box::new(|sub| tokens.with_claims(json!({"sub": sub, "aud": "b"})))),
        ("altered", Box::new(|subject| altered(&tokens.token(subject, role), &service.seller))),
    ];
    for (kind, make) in kinds {
        let router = limited(&service);
        let ask = async |subject| ask(&router, Some(&make(UserId::from_u128(subject)))).await;
        for subject in 0..3 {
            assert_eq!(ask(subject).await.status, 401, "{kind}");
        }
        assert_eq!(ask(3).await.status, 429, "{kind}: each subject is a client of its own");
        let valid = crate::rate_limit::ask(&router, Some(&service.seller)).await;
        assert_eq!(valid.status, 200, "{kind}: it counts against its address alone");
    }
}

/// The claims of one token under the signature of another.
fn altered(claims: &str, signed: &str) -> String {
    let part = |token: &str, nth| token.split('.').nth(nth).unwrap().to_owned();
    [part(claims, 0), part(claims, 1), part(signed, 2)].join(".")
}

#[tokio::test]
async fn expensive_request_counts_as_twenty_up_to_the_limit() {
    let service = TestService::new().await;
    // The path does not exist, so an accepted request gets a 404.
    let ask = async |router: &Router, path: &str| Call::get(path).send(router).await;
    let twenty = RateLimitConfig { per_second: NonZeroU32::new(20), ..LIMITED };
    let router = limit(twenty, &service);
    ask(&router, "/expensive").await.expect(404);
    service.clock.advance(Duration::from_millis(1));
    let refused = ask(&router, "/expensive").await.expect(429);
    assert_eq!(refused.header("retry-after"), "1");
    // An ordinary request is available again after a twentieth of a second, twenty after a second.
    service.clock.advance(Duration::from_millis(48));
    ask(&router, "/ordinary").await.expect(429);
    service.clock.advance(Duration::from_millis(1));
    ask(&router, "/ordinary").await.expect(404);
    service.clock.advance(Duration::from_millis(999));
    ask(&router, "/expensive").await.expect(429);
    service.clock.advance(Duration::from_millis(1));
    ask(&router, "/expensive").await.expect(404);

    let narrow = limit(LIMITED, &service);
    ask(&narrow, "/expensive").await.expect(404);
    ask(&narrow, "/expensive").await.expect(429);

    // A path below it counts as an ordinary request.
    let other = limit(LIMITED, &service);
    for _ in 0..3 {
        ask(&other, "/expensive/not").await.expect(404);
    }
    ask(&other, "/expensive/not").await.expect(429);
}
