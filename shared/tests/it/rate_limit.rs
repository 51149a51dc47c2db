//! Which clients the rate limit counts as one.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use shared::clock::Clock;
use shared::host::server::with_rate_limit;
use shared::http::rate_limit::{RateLimit, RateLimitConfig};
use testkit::Call;

/// Two addresses, and whether they are one client.
const PAIRS: [(&str, &str, bool); 9] = [
    ("192.0.2.1", "192.0.2.1", true),
    ("192.0.2.1", "192.0.2.2", false),
    ("::ffff:192.0.2.1", "192.0.2.1", true),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
    ("2001:db8::1", "2001:db8::1", true),
    // A client with IPv6 has all addresses of its network.
    ("2001:db8::1", "2001:db8::2", true),
    ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
    ("2001:db8::1", "2001:db8:0:1::1", false),
    ("2001:db8::1", "2001:db8:0:8000::1", false),
];

/// A router that accepts one request of each client.
fn once(trusted_proxies: usize) -> Router {
    let config =
        RateLimitConfig { per_second: NonZeroU32::new(1), trusted_proxies, expensive_paths: &[] };
    let clock = Clock::fixed(chrono::DateTime::UNIX_EPOCH);
    with_rate_limit(
        Router::new().route("/", get(|| async {})),
        &RateLimit::new(config, None, &clock),
    )
}

fn from_peer(router: &Router, address: &str) -> Router {
    let address: IpAddr = address.parse().unwrap();
    router.clone().layer(axum::Extension(ConnectInfo(SocketAddr::from((address, 1)))))
}

#[tokio::test]
async fn addresses_of_one_network_have_one_limit() {
    for (first, second, is_one) in PAIRS {
        let status = if is_one { 429 } else { 200 };
        let router = once(0);
        Call::get("/").send(&from_peer(&router, first)).await.expect(200);
        let other = Call::get("/").send(&from_peer(&router, second)).await;
        assert_eq!(other.status, status, "{first} and {second}");

        // As a trusted proxy reports them.
        let router = from_peer(&once(1), "198.51.100.1");
        let ask = |address: &str| Call::get("/").header("x-forwarded-for", address).send(&router);
        ask(first).await.expect(200);
        let other = ask(second).await;
        assert_eq!(other.status, status, "{first} and {second} behind a proxy");
    }
}
