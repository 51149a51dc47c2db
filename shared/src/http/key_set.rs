//! The public keys of the token issuer.
//!
//! Promise: a key that the issuer withdraws stops working, and a request with a known key waits for the
//! issuer at most once after an idle hour.
//!
//! - A set older than [`REFRESH_AFTER`] is fetched again in the background, begun by the next request.
//!   All requests use the old set until the new one is there. Under load, a withdrawn key therefore
//!   works for ten minutes and one fetch at most.
//! - Nothing runs in a process without requests, or in a function between invocations. A set older
//!   than [`REFRESH_FIRST_AFTER`] is therefore fetched before use, and the request that begins the fetch
//!   waits for it. This is the upper bound for a withdrawn key.
//! - An unknown key is looked up in a new set, fetched at most once in [`REFETCH_AFTER`]. Only requests
//!   with an unknown key wait for it.
//! - While the issuer does not respond, the old keys stay in use: its outage must not stop the services.
//!   The failure is logged once.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::http::problem::Problem;
use crate::telemetry;

/// Age in seconds at which a set is fetched again in the background.
const REFRESH_AFTER: i64 = 10 * 60;

/// Age in seconds at which a set is fetched again before it is used.
const REFRESH_FIRST_AFTER: i64 = 60 * 60;

/// Seconds between two fetches, however many tokens name unknown keys.
const REFETCH_AFTER: i64 = 10;

/// How long a fetch may take, and so how long a request may wait for one.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The keys at one moment.
#[derive(Debug)]
pub(crate) struct Keys {
    set: JwkSet,
    /// Increases when a fetch returns a different set. A token verified with one set may be invalid
    /// with the next.
    pub(crate) generation: u64,
    /// Seconds since the Unix epoch.
    fetched_at: i64,
}

impl Keys {
    /// The key with this id, or the first one if the token names no key.
    pub(crate) fn find(&self, kid: Option<&str>) -> Option<&Jwk> {
        match kid {
            Some(kid) => self.set.find(kid),
            None => self.set.keys.first(),
        }
    }
}

/// Where keys come from.
#[derive(Debug)]
pub(crate) enum KeySet {
    Fixed(Arc<Keys>),
    Fetched(Arc<Fetcher>),
}

impl KeySet {
    pub(crate) fn fixed(set: JwkSet) -> Self {
        Self::Fixed(Arc::new(Keys { set, generation: 0, fetched_at: 0 }))
    }

    pub(crate) fn at(url: String, clock: Clock) -> Self {
        let (http, state) = (reqwest::Client::new(), RwLock::default());
        Self::Fetched(Arc::new(Fetcher { url, clock, http, state }))
    }

    /// The keys to use now, if any are known. Waits only for a set older than
    /// [`REFRESH_FIRST_AFTER`].
    pub(crate) async fn current(&self) -> Option<Arc<Keys>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Fetched(fetcher) => fetcher.current().await,
        }
    }

    /// Keys fetched because `known` lacks the key that a token names.
    ///
    /// # Errors
    /// When no keys are known and the issuer does not respond.
    pub(crate) async fn newer_than(&self, known: Option<Arc<Keys>>) -> Result<Arc<Keys>, Problem> {
        match (self, known) {
            (Self::Fixed(keys), _) => Ok(Arc::clone(keys)),
            (Self::Fetched(fetcher), known) => fetcher.newer_than(known).await,
        }
    }
}

/// Fetches the key set of an issuer.
#[derive(Debug)]
pub(crate) struct Fetcher {
    url: String,
    clock: Clock,
    http: reqwest::Client,
    /// Never held across an await point.
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    /// When the last fetch began, in seconds since the Unix epoch.
    tried_at: Option<i64>,
    /// The fetch that began last; its channel closes when it ends.
    fetch: Option<Fetch>,
    /// Why the last fetch failed, until one succeeds.
    failure: Option<String>,
}

type Fetch = watch::Receiver<()>;

/// Waits for a fetch to end. It does within [`TIMEOUT`].
async fn ended(mut fetch: Fetch) {
    while fetch.changed().await.is_ok() {}
}

/// Whether a time is less than `seconds` ago. A future time is not: the clock was set back.
fn is_within(seconds: i64, at: i64, now: i64) -> bool {
    (0..seconds).contains(&(now - at))
}

impl State {
    fn in_flight(&self) -> Option<&Fetch> {
        // The channel closes when its fetch ends, even by a panic.
        self.fetch.as_ref().filter(|fetch| fetch.has_changed().is_ok())
    }

    fn may_fetch(&self, now: i64) -> bool {
        let is_early = self.tried_at.is_some_and(|at| is_within(REFETCH_AFTER, at, now));
        !is_early && self.in_flight().is_none()
    }
}

impl Fetcher {
    async fn current(self: &Arc<Self>) -> Option<Arc<Keys>> {
        let now = self.clock.now().timestamp();
        let keys = self.read().keys.clone()?;
        if is_within(REFRESH_AFTER, keys.fetched_at, now) {
            return Some(keys);
        }
        match self.begin(now) {
            Some(fetch) if !is_within(REFRESH_FIRST_AFTER, keys.fetched_at, now) => {
                ended(fetch).await;
                self.read().keys.clone()
            }
            _ => Some(keys),
        }
    }

    async fn newer_than(self: &Arc<Self>, known: Option<Arc<Keys>>) -> Result<Arc<Keys>, Problem> {
        let seen = known.map(|keys| keys.generation);
        // Another request may have fetched a new set since this one checked.
        if self.read().keys.as_ref().map(|keys| keys.generation) == seen {
            let begun = self.begin(self.clock.now().timestamp());
            let fetch = begun.or_else(|| self.read().in_flight().cloned());
            if let Some(fetch) = fetch {
                ended(fetch).await;
            }
        }
        let state = self.read();
        state.keys.clone().ok_or_else(|| {
            let cause = state.failure.as_deref().unwrap_or("no fetch has ended yet");
            Problem::unavailable(format!("the keys of the token issuer are not known: {cause}"))
        })
    }

    /// Begins a fetch, unless one is in flight or the last one began moments ago.
    ///
    /// The fetch is a separate task, so that it continues when the request that began it ends.
    fn begin(self: &Arc<Self>, now: i64) -> Option<Fetch> {
        if !self.read().may_fetch(now) {
            return None;
        }
        let mut state = self.write();
        // Another request may have begun one between the two locks.
        if !state.may_fetch(now) {
            return None;
        }
        let (done, fetch) = watch::channel(());
        state.tried_at = Some(now);
        state.fetch = Some(fetch.clone());
        let fetcher = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(TIMEOUT, fetcher.fetch()).await;
            fetcher.settle(fetched.unwrap_or_else(|_| Err("it took too long".to_owned())), now);
            drop(done);
        });
        Some(fetch)
    }

    async fn fetch(&self) -> Result<JwkSet, String> {
        let fetched =
            async { self.http.get(&self.url).send().await?.error_for_status()?.json().await };
        fetched.await.map_err(|error: reqwest::Error| telemetry::causes(&error))
    }

    /// Stores the set of a fetch that began at `begun_at`. If the fetch failed, the previous set
    /// stays.
    fn settle(&self, fetched: Result<JwkSet, String>, begun_at: i64) {
        let mut state = self.write();
        match fetched {
            Ok(set) => {
                let generation = match &state.keys {
                    Some(before) if before.set == set => before.generation,
                    Some(before) => before.generation + 1,
                    None => 0,
                };
                if state.failure.take().is_some() {
                    tracing::info!("the keys of the token issuer can be fetched again");
                }
                state.keys = Some(Arc::new(Keys { set, generation, fetched_at: begun_at }));
            }
            Err(error) => {
                if state.failure.is_none() {
                    tracing::warn!(error, "the keys of the token issuer cannot be fetched");
                }
                state.failure = Some(error);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    use super::*;

    /// Counts log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn fetcher() -> Arc<Fetcher> {
        match KeySet::at(String::new(), Clock::System) {
            KeySet::Fetched(fetcher) => fetcher,
            KeySet::Fixed(_) => panic!("the keys at an address are fixed"),
        }
    }

    #[test]
    fn outage_of_the_issuer_is_logged_once() {
        let fetcher = fetcher();
        let lines = Lines::default();
        let count = || lines.0.load(Ordering::SeqCst);
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                fetcher.settle(Err("no response".to_owned()), 0);
            }
            assert_eq!(count(), 1);
            fetcher.settle(Ok(JwkSet::default()), 0);
            fetcher.settle(Ok(JwkSet::default()), 0);
            assert_eq!(count(), 2, "its end is logged once as well");
            fetcher.settle(Err("no response".to_owned()), 0);
            assert_eq!(count(), 3);
        });
    }

    #[test]
    fn same_keys_keep_their_generation() {
        let fetcher = fetcher();
        let generation = || fetcher.read().keys.as_ref().map(|keys| keys.generation);
        fetcher.settle(Ok(JwkSet::default()), 1);
        fetcher.settle(Ok(JwkSet::default()), 2);
        assert_eq!(generation(), Some(0));
        let key = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "new"});
        let set = JwkSet { keys: vec![serde_json::from_value(key).unwrap()] };
        fetcher.settle(Ok(set), 3);
        assert_eq!(generation(), Some(1), "what was verified with the old set must not be reused");
    }
}
