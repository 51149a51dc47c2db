//! The API of an edition, as the commands use it.
//!
//! Promise: a request that may be repeated survives a restart of the edition, and one that may not
//! be is never sent again after it may have had its effect. Whoever is logged in stays so.

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

/// How long a request that finds nobody is repeated: a restart takes some seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The pauses between tries, where the answer names none.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Somewhat longer than the edition gives itself for an answer.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A client of one edition, on behalf of one user or of nobody. Cheap to clone; clones share the
/// session.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    bearer: Option<Arc<Bearer>>,
    patience: Duration,
}

impl Client {
    /// A client of the API at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A proxy of the environment is for the world outside, and tokens are none of its
            // business.
            .no_proxy()
            .build()
            .map_err(ClientError::Build)?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), bearer: None, patience: PATIENCE })
    }

    /// Repeats a request for this long instead of a minute.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same client on behalf of whoever `token` was given to. When it has expired, requests
    /// are refused.
    #[must_use]
    pub fn with_token(mut self, token: Secret<String>) -> Self {
        self.bearer = Some(Arc::new(Bearer::Given(token)));
        self
    }

    /// The same client on behalf of a user whose tokens this process signs itself.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer, account: Account) -> Self {
        self.bearer = Some(Arc::new(Bearer::Signed { issuer, account }));
        self
    }

    /// The same client on behalf of a user, for as long as it is used.
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

    /// The token that a request would carry now.
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

    /// Posts what must not be done twice. For the rest there is [`Call::key`] and
    /// [`Call::repeatable`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path).json(body).send().await
    }
}

/// A request that is being put together.
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

/// An answer that is no refusal, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call<'_> {
    /// Adds a parameter to the address.
    pub fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).map(|bytes| Some(bytes.into()));
        self
    }

    /// Names the request, so that it has its effect once however often it is sent.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self.repeatable = true;
        self
    }

    /// Says which version a change is meant for; `*` for any.
    pub fn if_match(mut self, tag: &str) -> Self {
        self.if_match = Some(tag.to_owned());
        self
    }

    /// Says that doing it twice does no harm.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends it and reads the answer; an empty one is read as `null`.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let name = self.name();
        let answer = self.answer().await?;
        let body: &[u8] = if answer.body.is_empty() { b"null" } else { &answer.body };
        serde_json::from_slice(body)
            .map_err(|source| ClientError::Unreadable { call: name, source })
    }

    /// Sends it, again and again where that is safe and helps.
    pub async fn answer(self) -> Result<Answer, ClientError> {
        let Some(bearer) = &self.client.bearer else {
            return self.deliver(None).await;
        };
        let token = bearer.token(self.client).await?;
        let refused = match self.deliver(Some(&token)).await {
            Err(error) if error.status() == Some(401) => error,
            answered => return answered,
        };
        // It may have expired on its way, or while the machine slept.
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
            if begun.elapsed() + wait > self.client.patience {
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

    /// What an error calls the request; the query may hold what is nobody's business.
    fn name(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}
