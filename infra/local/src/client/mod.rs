//! The API of an edition, as the commands use it.
//!
//! Promise: a repeatable request survives a restart of the edition. Any other request is never sent
//! again once it may have had its effect. A login lasts as long as its client.

pub(crate) mod batch;
pub mod demo_user;
mod error;
mod http;
pub(crate) mod remote;
mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use identity::keys::Issuer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::config::Secret;

pub use error::ClientError;
pub(crate) use error::Sentence;
pub use http::ApiResponse;
use http::{Http, Request};
use session::Bearer;

use crate::edition::data_folder::Account;

/// A client of one edition, on behalf of one user or anonymous. Cheap to clone; clones share the
/// session.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    bearer: Option<Arc<Bearer>>,
}

impl Client {
    /// A client of the API at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        Ok(Self { http: Http::new(base)?, bearer: None })
    }

    /// Retries a request for this long instead of a minute.
    #[must_use]
    pub(crate) fn with_retries_for(mut self, retry_for: Duration) -> Self {
        self.http.retry_for = retry_for;
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
    pub(crate) fn with_issuer(mut self, issuer: Issuer, account: Account) -> Self {
        self.bearer = Some(Arc::new(Bearer::Signed { issuer, account }));
        self
    }

    /// The same client on behalf of a user, with a session that is renewed as needed.
    pub async fn log_in(
        &self,
        email: &str,
        password: &Secret<String>,
    ) -> Result<Self, ClientError> {
        let bearer = Bearer::log_in(&self.http, email, password).await?;
        let mut client = self.clone();
        client.bearer = Some(Arc::new(bearer));
        Ok(client)
    }

    /// The token that a request would carry now, unless it is anonymous.
    pub async fn token(&self) -> Result<Option<Secret<String>>, ClientError> {
        match &self.bearer {
            Some(bearer) => bearer.token(&self.http).await.map(Some),
            None => Ok(None),
        }
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        Call { client: self, request: self.http.request(method, path) }
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
    request: Request<'a>,
}

impl Call<'_> {
    /// Adds a query parameter.
    pub fn query(mut self, name: &'static str, value: &str) -> Self {
        self.request.query.push((name, value.to_owned()));
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.request.set_json(body);
        self
    }

    /// Sets the idempotency key, which makes the request repeatable.
    pub fn key(mut self, key: &str) -> Self {
        self.request.key = Some(key.to_owned());
        self.request.repeatable = true;
        self
    }

    /// Sets the version that a change applies to; `*` for any.
    pub fn if_match(mut self, tag: &str) -> Self {
        self.request.if_match = Some(tag.to_owned());
        self
    }

    /// Declares that repeating the request does no harm.
    pub fn repeatable(mut self) -> Self {
        self.request.repeatable = true;
        self
    }

    /// Sends it and parses the response. An empty body is read as `null`.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let name = self.request.name();
        let response = self.send_raw().await?;
        let body: &[u8] = if response.body.is_empty() { b"null" } else { &response.body };
        serde_json::from_slice(body)
            .map_err(|source| ClientError::Unreadable { call: name, source })
    }

    /// Sends it, and retries while that is safe and may help.
    pub(crate) async fn send_raw(self) -> Result<ApiResponse, ClientError> {
        let Some(bearer) = &self.client.bearer else {
            return self.request.deliver(None).await;
        };
        let token = bearer.token(&self.client.http).await?;
        let refused = match self.request.deliver(Some(&token)).await {
            Err(error) if error.status() == Some(401) => error,
            response => return response,
        };
        // The token may have expired on the way, or while the machine slept.
        match bearer.replace(&self.client.http, &token).await? {
            Some(token) => self.request.deliver(Some(&token)).await,
            None => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests;
