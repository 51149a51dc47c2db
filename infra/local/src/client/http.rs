//! Requests to one edition, retried while that is safe and may help. They carry the token that the
//! caller passes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use serde::Serialize;
use shared::config::Secret;
use tokio::time::Instant;

use super::error::{ClientError, read_problem};

/// How long to retry a request: a restart takes some seconds.
const RETRY_FOR: Duration = Duration::from_mins(1);

/// The pauses between attempts, unless the response names one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Somewhat longer than the edition's own limit for a response.
const TIMEOUT: Duration = Duration::from_secs(40);

/// The API at one base URL. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    base: Arc<str>,
    pub(super) retry_for: Duration,
}

impl Http {
    pub(super) fn new(base: &str) -> Result<Self, ClientError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A proxy in the environment is meant for other hosts, and must not see tokens.
            .no_proxy()
            .build()
            .map_err(ClientError::Build)?;
        Ok(Self { client, base: base.trim_end_matches('/').into(), retry_for: RETRY_FOR })
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Request<'_> {
        Request {
            http: self,
            repeatable: method.is_safe(),
            method,
            path: path.to_owned(),
            query: Vec::new(),
            body: Ok(None),
            key: None,
            if_match: None,
        }
    }
}

/// The pauses between the attempts of one request.
#[derive(Debug)]
struct Retries {
    begun: Instant,
    retry_for: Duration,
    pause: Duration,
}

impl Retries {
    fn begin(retry_for: Duration) -> Self {
        Self { begun: Instant::now(), retry_for, pause: FIRST_PAUSE }
    }

    /// How long to wait before the next attempt: as long as the response names, or twice as long each
    /// time. `None` if the wait would take too long.
    fn next_pause(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let wait = retry_after.unwrap_or(self.pause).max(FIRST_PAUSE);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (self.begun.elapsed() + wait <= self.retry_for).then_some(wait)
    }
}

/// A request under construction.
#[derive(Debug)]
pub(super) struct Request<'a> {
    http: &'a Http,
    method: Method,
    path: String,
    pub(super) query: Vec<(&'static str, String)>,
    body: Result<Option<Bytes>, serde_json::Error>,
    pub(super) key: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) repeatable: bool,
}

/// A successful response with its whole body.
#[derive(Debug)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request<'_> {
    pub(super) fn set_json(&mut self, body: &impl Serialize) {
        self.body = serde_json::to_vec(body).map(|bytes| Some(bytes.into()));
    }

    /// Sends it, and retries while that is safe and may help.
    pub(super) async fn deliver(
        &self,
        token: Option<&Secret<String>>,
    ) -> Result<ApiResponse, ClientError> {
        let mut retries = Retries::begin(self.http.retry_for);
        loop {
            let error = match self.attempt(token).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if !error.may_be_repeated(self.repeatable) {
                return Err(error);
            }
            let Some(wait) = retries.next_pause(error.retry_after()) else { return Err(error) };
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, token: Option<&Secret<String>>) -> Result<ApiResponse, ClientError> {
        let url = format!("{}{}", self.http.base, self.path);
        let mut request = self.http.client.request(self.method.clone(), url);
        if !self.query.is_empty() {
            request = request.query(&self.query);
        }
        match &self.body {
            Ok(None) => {}
            Ok(Some(body)) => {
                request =
                    request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
            }
            Err(error) => return Err(ClientError::Unwritable(error.to_string())),
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(tag) = &self.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let no_response = |source: reqwest::Error| ClientError::NoResponse {
            call: self.name(),
            base: self.http.base.to_string(),
            source: source.without_url(),
        };
        let received = request.send().await.map_err(no_response)?;
        let (status, headers) = (received.status(), received.headers().clone());
        let body = received.bytes().await.map_err(no_response)?;
        if status.is_success() || status.is_redirection() {
            return Ok(ApiResponse { status, headers, body });
        }
        let retry_after = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Err(ClientError::Refused {
            call: self.name(),
            problem: Box::new(read_problem(status.as_u16(), &body)),
            retry_after,
        })
    }

    /// The name of the request in errors. The query may hold personal data, so it is left out.
    pub(super) fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses of a request that is never answered.
    async fn pauses(retry_after: Option<Duration>) -> Vec<u128> {
        let mut retries = Retries::begin(RETRY_FOR);
        let mut pauses = Vec::new();
        while let Some(pause) = retries.next_pause(retry_after) {
            pauses.push(pause.as_millis());
            // Paused time: the tests pause it.
            tokio::time::sleep(pause).await;
        }
        pauses
    }

    #[tokio::test(start_paused = true)]
    async fn request_is_retried_for_a_minute_with_growing_pauses() {
        let (begun, paused) = (Instant::now(), pauses(None).await);
        assert_eq!(paused[..7], [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!((paused.len(), paused.last()), (33, Some(&2_000)));
        assert_eq!(begun.elapsed(), Duration::from_millis(59_100));
    }

    #[tokio::test(start_paused = true)]
    async fn response_names_the_pause_before_the_next_attempt() {
        assert_eq!(pauses(Some(Duration::from_secs(7))).await, [7_000; 8]);
        assert_eq!(pauses(Some(Duration::from_mins(1))).await, [60_000]);
        assert_eq!(pauses(Some(Duration::from_secs(61))).await, []);
        // No busy loop, whatever the response names.
        assert_eq!(pauses(Some(Duration::ZERO)).await, [100; 600]);
    }
}
