//! The keys of a token issuer that rotates, stalls or fails, over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use jsonwebtoken::jwk::JwkSet;
use serde_json::json;
use shared::clock::Clock;
use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
use shared::id::UserId;
use testkit::{Tokens, eventually, set_back, within};
use uuid::Uuid;

const TEN_MINUTES: Duration = Duration::from_mins(10);
const ONE_HOUR: Duration = Duration::from_hours(1);

/// How the issuer responds to a request for its keys.
#[derive(Clone)]
enum IssuerResponse {
    Keys(JwkSet),
    Error,
    Never,
}

/// An issuer's key set at an address, with a count of its readers.
#[derive(Clone)]
struct Issuer {
    response: Arc<Mutex<IssuerResponse>>,
    fetches: Arc<AtomicUsize>,
    url: String,
}

impl Issuer {
    async fn start(response: IssuerResponse) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let issuer =
            Self { response: Arc::new(Mutex::new(response)), fetches: Arc::default(), url };
        let serving = issuer.clone();
        let router = axum::Router::new().fallback(move || {
            let issuer = serving.clone();
            async move {
                issuer.fetches.fetch_add(1, Ordering::SeqCst);
                let response = issuer.response.lock().unwrap().clone();
                match response {
                    IssuerResponse::Keys(set) => axum::Json(set).into_response(),
                    IssuerResponse::Error => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    IssuerResponse::Never => std::future::pending().await,
                }
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        issuer
    }

    fn respond_with(&self, response: IssuerResponse) {
        *self.response.lock().unwrap() = response;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn verifier(&self, clock: &Clock) -> Verifier {
        let keys = KeySource::Url(self.url.clone());
        let config = AuthConfig { keys, ..Tokens::new(clock.clone()).config() };
        Verifier::new(config, clock.clone())
    }
}

fn clock() -> Clock {
    Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap())
}

/// An issuer's key, and the one that succeeds it.
fn old_and_new(clock: &Clock) -> (Tokens, Tokens) {
    (Tokens::with_key("old", clock.clone()), Tokens::with_key("new", clock.clone()))
}

/// A token that no verifier has seen.
fn fresh(tokens: &Tokens) -> String {
    tokens.with_claims(json!({"sub": Uuid::nil(), "jti": another()}))
}

/// A different number on each call.
fn another() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

fn both(first: &Tokens, second: &Tokens) -> IssuerResponse {
    let keys = [first, second].into_iter().flat_map(|tokens| tokens.keys().keys.clone());
    IssuerResponse::Keys(JwkSet { keys: keys.collect() })
}

fn only(tokens: &Tokens) -> IssuerResponse {
    IssuerResponse::Keys(tokens.keys().clone())
}

/// The code of a refusal that must come without waiting for the issuer, or `ok`.
fn at_once(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(token).now_or_never() {
        None => "waits",
        Some(Err(problem)) => problem.kind.code,
        Some(Ok(_)) => "ok",
    }
}

#[tokio::test]
async fn withdrawn_key_is_refused_after_the_refresh() {
    let clock = clock();
    let (old, new) = old_and_new(&clock);
    let issuer = Issuer::start(both(&old, &new)).await;
    let verifier = issuer.verifier(&clock);
    // One token, which the verifier caches from here on.
    let token = old.token(UserId::nil(), Role::Seller);
    verifier.verify(&token).await.unwrap();

    issuer.respond_with(only(&new));
    clock.advance(Duration::from_secs(599));
    assert_eq!(at_once(&verifier, &token), "ok", "the set is young enough");
    assert_eq!(issuer.fetches(), 1);

    clock.advance(Duration::from_secs(1));
    assert_eq!(at_once(&verifier, &token), "ok", "the refresh has only begun");
    eventually("the new set", async || verifier.verify(&token).await.err()).await;
    assert_eq!(at_once(&verifier, &fresh(&old)), "unauthenticated");
    assert_eq!(at_once(&verifier, &fresh(&new)), "ok");
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn replaced_key_is_refused_after_the_refresh() {
    let clock = clock();
    let (old, new) = old_and_new(&clock);
    let issuer = Issuer::start(only(&old)).await;
    let verifier = issuer.verifier(&clock);
    // The verifier caches the token, and the new set has as many keys as the old one.
    let token = old.token(UserId::nil(), Role::Seller);
    verifier.verify(&token).await.unwrap();
    issuer.respond_with(only(&new));
    clock.advance(Duration::from_mins(10));
    assert_eq!(at_once(&verifier, &token), "ok", "the refresh has only begun");
    eventually("the new set", async || (at_once(&verifier, &fresh(&new)) == "ok").then_some(()))
        .await;
    assert_eq!(at_once(&verifier, &token), "unauthenticated");
}

#[tokio::test]
async fn key_withdrawn_during_an_idle_hour_is_refused_at_once() {
    let clock = clock();
    let (old, new) = old_and_new(&clock);
    let issuer = Issuer::start(only(&old)).await;
    let verifier = issuer.verifier(&clock);
    verifier.verify(&fresh(&old)).await.unwrap();

    issuer.respond_with(only(&new));
    clock.advance(ONE_HOUR);
    let refused = verifier.verify(&fresh(&old)).await.unwrap_err();
    assert_eq!(refused.kind.code, "unauthenticated");
}

#[tokio::test]
async fn key_withdrawn_before_a_clock_was_set_back_is_refused_at_once() {
    for by in [Duration::from_secs(1), 24 * ONE_HOUR] {
        let clock = clock();
        let (old, new) = old_and_new(&clock);
        let issuer = Issuer::start(only(&old)).await;
        let verifier = issuer.verifier(&clock);
        verifier.verify(&fresh(&old)).await.unwrap();

        issuer.respond_with(only(&new));
        set_back(&clock, by);
        let refused = verifier.verify(&fresh(&old)).await.unwrap_err();
        assert_eq!(refused.kind.code, "unauthenticated", "{by:?}");
        // The new set is of the present again.
        assert_eq!(at_once(&verifier, &fresh(&new)), "ok", "{by:?}");
        assert_eq!(issuer.fetches(), 2, "{by:?}");
    }
}

#[tokio::test]
async fn silent_issuer_does_not_delay_tokens_of_known_keys() {
    let clock = clock();
    let known = Tokens::with_key("known", clock.clone());
    let unknown = Tokens::with_key("unknown", clock.clone());
    let issuer = Issuer::start(only(&known)).await;
    let verifier = issuer.verifier(&clock);
    verifier.verify(&fresh(&known)).await.unwrap();

    issuer.respond_with(IssuerResponse::Never);
    clock.advance(TEN_MINUTES);
    let (waiting, token) = (verifier.clone(), fresh(&unknown));
    // Real time: a slow machine waits longer for the timeout, never less.
    let begun = Instant::now();
    let waiting = tokio::spawn(async move { waiting.verify(&token).await });
    eventually("a fetch", async || (issuer.fetches() == 2).then_some(())).await;
    for _ in 0..10 {
        assert_eq!(at_once(&verifier, &fresh(&known)), "ok");
    }
    assert!(!waiting.is_finished(), "the unknown key does not wait for the issuer");
    let refused = within("the end of the fetch", waiting).await.unwrap().unwrap_err();
    assert_eq!(refused.kind.code, "unauthenticated");
    // Real time: see above.
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn unknown_keys_are_fetched_once_in_ten_seconds() {
    let clock = clock();
    let known = Tokens::with_key("known", clock.clone());
    let issuer = Issuer::start(only(&known)).await;
    let verifier = issuer.verifier(&clock);
    verifier.verify(&fresh(&known)).await.unwrap();
    assert_eq!(issuer.fetches(), 1);

    let flood = async || {
        let mut tasks = tokio::task::JoinSet::new();
        for nth in 0..50 {
            let token = fresh(&Tokens::with_key(&format!("invented {nth}"), clock.clone()));
            let verifier = verifier.clone();
            tasks.spawn(async move { verifier.verify(&token).await.is_err() });
        }
        assert!(tasks.join_all().await.into_iter().all(|refused| refused));
    };
    flood().await;
    assert_eq!(issuer.fetches(), 1, "the last fetch is moments ago");
    clock.advance(Duration::from_secs(10));
    flood().await;
    flood().await;
    assert_eq!(issuer.fetches(), 2);

    let added = Tokens::with_key("added", clock.clone());
    issuer.respond_with(both(&known, &added));
    clock.advance(Duration::from_secs(10));
    verifier.verify(&fresh(&added)).await.unwrap();
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test]
async fn known_keys_stay_in_use_while_the_issuer_fails() {
    let clock = clock();
    let tokens = Tokens::with_key("known", clock.clone());
    let issuer = Issuer::start(only(&tokens)).await;
    let verifier = issuer.verifier(&clock);
    verifier.verify(&fresh(&tokens)).await.unwrap();

    issuer.respond_with(IssuerResponse::Error);
    for fetches in 2..5 {
        clock.advance(ONE_HOUR);
        verifier.verify(&fresh(&tokens)).await.unwrap();
        assert_eq!(issuer.fetches(), fetches);
        // Not again for each request.
        verifier.verify(&fresh(&tokens)).await.unwrap();
        assert_eq!(issuer.fetches(), fetches);
    }
}

#[tokio::test]
async fn first_fetch_that_fails_is_a_503_until_one_succeeds() {
    let clock = clock();
    let tokens = Tokens::with_key("known", clock.clone());
    let issuer = Issuer::start(IssuerResponse::Error).await;
    let verifier = issuer.verifier(&clock);
    for _ in 0..2 {
        let refused = verifier.verify(&fresh(&tokens)).await.unwrap_err();
        assert_eq!((refused.kind.code, refused.retry_after), ("unavailable", Some(1)));
    }
    assert_eq!(issuer.fetches(), 1);

    issuer.respond_with(only(&tokens));
    clock.advance(Duration::from_secs(10));
    verifier.verify(&fresh(&tokens)).await.unwrap();
}

#[tokio::test]
async fn malformed_token_fetches_no_keys() {
    let issuer = Issuer::start(IssuerResponse::Error).await;
    let verifier = issuer.verifier(&clock());
    let refused = verifier.verify("not a token").await.unwrap_err();
    assert_eq!((refused.kind.code, issuer.fetches()), ("unauthenticated", 0));
}
