//! How often somebody may ask: by who he provably is, else by where he asks from.
//!
//! The key is never something that a caller can choose: the subject of a token that was verified,
//! or the address of the peer, which is read from `X-Forwarded-For` only as far as it was written
//! by proxies that are known to stand in front.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Settings;
use crate::http::auth::{self, Verifier};
use crate::http::problem::RATE_LIMITED;

/// How often callers that are not seen any more are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// What a dear request counts as, in requests: it takes the processor for milliseconds, of which nobody
/// may have most.
const DEAR: NonZeroU32 = NonZeroU32::new(20).unwrap();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Requests a second for each caller, who may save up as many; none is no limit.
    pub per_second: Option<NonZeroU32>,
    /// How many proxies stand in front and add to `X-Forwarded-For`.
    pub trusted_proxies: usize,
    /// Where requests go that count for twenty others.
    pub dear: &'static [&'static str],
}

impl RateLimitConfig {
    /// `VITRINA_RATE_LIMIT` (requests a second, 0 for no limit) and `VITRINA_TRUSTED_PROXIES`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            per_second: NonZeroU32::new(settings.or("VITRINA_RATE_LIMIT", 1_000)),
            trusted_proxies: settings.or("VITRINA_TRUSTED_PROXIES", 0),
            dear: &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Subject(Uuid),
    Peer(IpAddr),
    /// The host does not say where a request came from.
    Unknown,
}

/// Counts requests by caller. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct RateLimit {
    limiter: Option<Arc<DefaultKeyedRateLimiter<Caller>>>,
    dear: &'static [&'static str],
    /// What those count for: no more than what a caller may save up.
    cells: NonZeroU32,
    trusted_proxies: usize,
    /// Where there is none, callers are known by their peer.
    verifier: Option<Verifier>,
}

impl RateLimit {
    pub fn new(config: RateLimitConfig, verifier: Option<Verifier>) -> Self {
        let limiter =
            config.per_second.map(|rate| Arc::new(RateLimiter::keyed(Quota::per_second(rate))));
        let cells = config.per_second.unwrap_or(NonZeroU32::MAX).min(DEAR);
        let RateLimitConfig { trusted_proxies, dear, .. } = config;
        Self { limiter, dear, cells, trusted_proxies, verifier }
    }

    /// Keeps the memory bounded by the callers of the last minute, until `stop`.
    pub async fn upkeep(self, stop: CancellationToken) {
        let Some(limiter) = self.limiter else {
            return stop.cancelled().await;
        };
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(FORGET_EVERY) => limiter.retain_recent(),
            }
        }
    }

    async fn caller(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Caller {
        // A token that is no good says nothing about who sent it.
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

/// The address that the outermost of `proxies` trusted proxies wrote down.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let before = proxies.checked_sub(1)?;
    let lists = headers.get_all("x-forwarded-for").iter().rev();
    let mut addresses = lists.filter_map(|list| list.to_str().ok()).flat_map(|l| l.rsplit(','));
    addresses.nth(before)?.trim().parse().ok()
}

/// Whoever has one IPv6 address has the other 2^64 of its network.
fn network_of(address: IpAddr) -> IpAddr {
    // On a listener of both kinds an IPv4 peer comes as an IPv6 address.
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// The layer: refuses with 429 whoever asks too often.
pub async fn limit(State(limit): State<RateLimit>, request: Request, next: Next) -> Response {
    let Some(limiter) = &limit.limiter else {
        return next.run(request).await;
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip());
    let caller = limit.caller(request.headers(), peer).await;
    let is_dear = limit.dear.contains(&request.uri().path());
    let cells = if is_dear { limit.cells } else { NonZeroU32::MIN };
    match limiter.check_key_n(&caller, cells) {
        Ok(Ok(())) => next.run(request).await,
        // Nothing counts for more than a caller may save up.
        Err(_) => RATE_LIMITED.because("").into_response(),
        Ok(Err(refused)) => {
            let wait = refused.wait_time_from(DefaultClock::default().now());
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
    fn without_a_trusted_proxy_the_header_says_nothing() {
        assert_eq!(forwarded(&headers(&["10.0.0.1"]), 0), None);
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let forged = headers(&["6.6.6.6, 10.0.0.1", "10.0.0.2"]);
        assert_eq!(forwarded(&forged, 1), Some([10, 0, 0, 2].into()));
        assert_eq!(forwarded(&forged, 2), Some([10, 0, 0, 1].into()));
        assert_eq!(forwarded(&forged, 9), None);
        assert_eq!(forwarded(&headers(&["nonsense"]), 1), None);
    }

    #[test]
    fn addresses_of_one_network_are_one_caller() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_ne!(network("::ffff:10.0.0.1"), network("::ffff:10.0.0.2"));
    }
}
