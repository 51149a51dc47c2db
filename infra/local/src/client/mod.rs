//! The API of an edition, as the commands use it.
//!
//! Promise: a repeatable request survives a restart of the edition. Any other request is never sent
//! again once it may have had its effect. A login lasts as long as its client.

pub(crate) mod batch;
pub mod demo_user;
mod error;
pub(crate) mod remote;
mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use identity::keys::Issuer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::config::Secret;
use tokio::time::Instant;

pub use error::{ClientError, Fault, Problem};
use session::Bearer;

use crate::edition::data_folder::Account;

/// How long to retry a request: a restart takes some seconds.
const RETRY_FOR: Duration = Duration::from_mins(1);

/// The pauses between attempts, unless the answer names one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Somewhat longer than the edition's own limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A client of one edition, on behalf of one user or anonymous. Cheap to clone; clones share the
/// session.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    bearer: Option<Arc<Bearer>>,
    retry_for: Duration,
}

impl Client {
    /// A client of the API at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A proxy in the environment is meant for other hosts, and must not see tokens.
            .no_proxy()
            .build()
            .map_err(ClientError::Build)?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').into(),
            bearer: None,
            retry_for: RETRY_FOR,
        })
    }

    /// Retries a request for this long instead of a minute.
    #[must_use]
    pub fn with_retries_for(mut self, retry_for: Duration) -> Self {
        self.retry_for = retry_for;
        self
    }

    /// The same client on behalf of the user of `token`. Requests fail once it has expired.
    #[must_use]
    pub fn with_token(mut self, token: Secret<String>) -> Self {
        self.bearer = Some(Arc::new(Bearer::Given(token)));
        self
    }

    /// The same client on behalf of a user, with tokens that this process signs.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer, account: Account) -> Self {
        self.bearer = Some(Arc::new(Bearer::Signed { issuer, account }));
        self
    }

    /// The same client on behalf of a user, with a session that is renewed as needed.
    pub async fn log_in(
        &self,
        email: &str,
        password: &Secret<String>,
    ) -> Result<Self, ClientError> {
        let bearer = Bearer::log_in(self, email, password).await?;
        let mut client = self.clone();
        client.bearer = Some(Arc::new(bearer));
        Ok(client)
    }

    /// The token that a request would carry now, unless it is anonymous.
    pub async fn token(&self) -> Result<Option<Secret<String>>, ClientError> {
        match &self.bearer {
            Some(bearer) => bearer.token(self).await.map(Some),
            None => Ok(None),
        }
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            client: self,
            repeatable: method.is_safe(),
            method,
            path: path.to_owned(),
            query: Vec::new(),
            body: Ok(None),
            key: None,
            if_match: None,
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path).send().await
    }

    /// Posts a request that must not be repeated. For others, see [`Call::key`] and
    /// [`Call::repeatable`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path).json(body).send().await
    }
}

/// A request under construction.
#[derive(Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Call<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Result<Option<Bytes>, serde_json::Error>,
    key: Option<String>,
    if_match: Option<String>,
    repeatable: bool,
}

/// A successful answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call<'_> {
    /// Adds a query parameter.
    pub fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).map(|bytes| Some(bytes.into()));
        self
    }

    /// Sets the idempotency key, which makes the request repeatable.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self.repeatable = true;
        self
    }

    /// Sets the version that a change applies to; `*` for any.
    pub fn if_match(mut self, tag: &str) -> Self {
        self.if_match = Some(tag.to_owned());
        self
    }

    /// Declares that repeating the request does no harm.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends it and parses the answer. An empty body is read as `null`.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let name = self.name();
        let answer = self.answer().await?;
        let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
        serde_json::from_slice(body)
            .map_err(|source| ClientError::Unreadable { call: name, source })
    }

    /// Sends it, and retries while that is safe and may help.
    pub async fn answer(self) -> Result<Answer, ClientError> {
        let Some(bearer) = &self.client.bearer else {
            return self.deliver(None).await;
        };
        let token = bearer.token(self.client).await?;
        let refused = match self.deliver(Some(&token)).await {
            Err(error) if error.status() == Some(401) => error,
            answered => return answered,
        };
        // The token may have expired on the way, or while the machine slept.
        match bearer.replace(self.client, &token).await? {
            Some(token) => self.deliver(Some(&token)).await,
            None => Err(refused),
        }
    }

    async fn deliver(&self, token: Option<&Secret<String>>) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.attempt(token).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.may_be_repeated(self.repeatable) {
                return Err(error);
            }
            let wait = error.retry_after().unwrap_or(pause).max(FIRST_PAUSE);
            if begun.elapsed() + wait > self.client.retry_for {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, token: Option<&Secret<String>>) -> Result<Answer, ClientError> {
        let url = format!("{}{}", self.client.base, self.path);
        let mut request = self.client.http.request(self.method.clone(), url);
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
        let no_answer = |source: reqwest::Error| ClientError::NoAnswer {
            call: self.name(),
            base: self.client.base.to_string(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?;
        if status.is_success() || status.is_redirection() {
            return Ok(Answer { status, headers, body });
        }
        let retry_after = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        Err(ClientError::Refused {
            call: self.name(),
            problem: Box::new(Problem::read(status.as_u16(), &body)),
            retry_after,
        })
    }

    /// The name of the request in errors. The query may hold personal data, so it is left out.
    fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}
