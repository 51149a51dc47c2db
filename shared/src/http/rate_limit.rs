//! Rate limiting. A request counts against its authenticated subject, or against its client network if
//! it has no valid token. Expensive paths count as 20 requests.
//!
//! A client cannot choose its key: the subject comes from a verified token, and `X-Forwarded-For` is
//! read only as far as trusted proxies wrote it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::http::auth::{self, Verifier};
use crate::http::problem::RATE_LIMITED;
use crate::id::UserId;

/// Interval at which idle clients are forgotten.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);

/// How many requests an expensive request counts as: it uses the processor for milliseconds, which
/// no client may monopolise.
const EXPENSIVE_COST: NonZeroU32 = NonZeroU32::new(20).unwrap();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Requests per second and burst size of each client; `None` for no limit.
    pub per_second: Option<NonZeroU32>,
    /// Number of proxies in front that append to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// Paths whose requests count as 20.
    pub expensive_paths: &'static [&'static str],
}

impl RateLimitConfig {
    /// Reads `VITRINA_RATE_LIMIT` (requests per second, 0 for no limit) and
    /// `VITRINA_TRUSTED_PROXIES`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            per_second: NonZeroU32::new(settings.or("VITRINA_RATE_LIMIT", 1_000)),
            trusted_proxies: settings.or("VITRINA_TRUSTED_PROXIES", 0),
            expensive_paths: &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Subject(UserId),
    Peer(IpAddr),
    /// The host does not know the address of the client.
    Unknown,
}

/// The time by which requests are counted.
#[derive(Clone, Debug)]
struct Monotonic(Clock);

impl governor::clock::Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

type Limiter = RateLimiter<Caller, DashMapStateStore<Caller>, Monotonic, NoOpMiddleware<Nanos>>;

/// Counts requests per client. Cheap to clone; clones share their counts.
#[derive(Clone, Debug)]
pub struct RateLimit {
    limiter: Option<Arc<Limiter>>,
    clock: Monotonic,
    expensive_paths: &'static [&'static str],
    /// Cost of an expensive request: never more than the burst size.
    expensive_cost: NonZeroU32,
    trusted_proxies: usize,
    /// Without one, clients are identified by their address.
    verifier: Option<Verifier>,
}

impl RateLimit {
    pub fn new(config: RateLimitConfig, verifier: Option<Verifier>, clock: &Clock) -> Self {
        let clock = Monotonic(clock.clone());
        let limiter = config.per_second.map(|rate| {
            Arc::new(RateLimiter::dashmap_with_clock(Quota::per_second(rate), clock.clone()))
        });
        let expensive_cost = config.per_second.unwrap_or(NonZeroU32::MAX).min(EXPENSIVE_COST);
        let RateLimitConfig { trusted_proxies, expensive_paths, .. } = config;
        Self { limiter, clock, expensive_paths, expensive_cost, trusted_proxies, verifier }
    }

    /// Bounds the memory to clients of the last minute, until `stop`.
    pub async fn bound_memory(self, stop: CancellationToken) {
        let Some(limiter) = self.limiter else {
            return stop.cancelled().await;
        };
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(CLEANUP_INTERVAL) => limiter.retain_recent(),
            }
        }
    }

    async fn caller(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Caller {
        // An invalid token does not identify its sender.
        if let Ok(token) = auth::bearer(headers)
            && let Some(verifier) = &self.verifier
            && let Ok(identity) = verifier.verify(token).await
        {
            return Caller::Subject(identity.subject);
        }
        match forwarded(headers, self.trusted_proxies).or(peer) {
            Some(address) => Caller::Peer(network_of(address)),
            None => Caller::Unknown,
        }
    }
}

/// The client address that the outermost of `proxies` trusted proxies recorded.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let before = proxies.checked_sub(1)?;
    let lists = headers.get_all("x-forwarded-for").iter().rev();
    let mut addresses = lists.filter_map(|list| list.to_str().ok()).flat_map(|l| l.rsplit(','));
    addresses.nth(before)?.trim().parse().ok()
}

/// The client network of an address: a client with one IPv6 address has its whole /64.
fn network_of(address: IpAddr) -> IpAddr {
    // A dual-stack listener reports an IPv4 peer as an IPv6 address.
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// The middleware: returns 429 to clients above their limit.
pub async fn limit(State(limit): State<RateLimit>, request: Request, next: Next) -> Response {
    let Some(limiter) = &limit.limiter else {
        return next.run(request).await;
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip());
    let caller = limit.caller(request.headers(), peer).await;
    let is_expensive = limit.expensive_paths.contains(&request.uri().path());
    let cost = if is_expensive { limit.expensive_cost } else { NonZeroU32::MIN };
    match limiter.check_key_n(&caller, cost) {
        Ok(Ok(())) => next.run(request).await,
        // Unreachable: no cost exceeds the burst size.
        Err(_) => RATE_LIMITED.because("").into_response(),
        Ok(Err(refused)) => {
            let wait = refused.wait_time_from(limit.clock.now());
            let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
            RATE_LIMITED.because("").retry_after(seconds).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn header_is_ignored_without_trusted_proxies() {
        assert_eq!(forwarded(&headers(&["10.0.0.1"]), 0), None);
    }

    #[test]
    fn only_entries_of_trusted_proxies_count() {
        let forged = headers(&["6.6.6.6, 10.0.0.1", "10.0.0.2"]);
        assert_eq!(forwarded(&forged, 1), Some([10, 0, 0, 2].into()));
        assert_eq!(forwarded(&forged, 2), Some([10, 0, 0, 1].into()));
        assert_eq!(forwarded(&forged, 9), None);
        assert_eq!(forwarded(&headers(&["nonsense"]), 1), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_ne!(network("::ffff:10.0.0.1"), network("::ffff:10.0.0.2"));
    }
}
