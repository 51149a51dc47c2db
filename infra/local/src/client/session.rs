//! Whose requests they are. A session outlives its access token: it is refreshed ahead of time.

use std::time::Duration;

use axum::http::Method;
use serde::Deserialize;
use serde_json::json;
use shared::config::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Client, ClientError};

/// An access token is replaced so long before its end.
const MARGIN: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(super) enum Bearer {
    /// A token that somebody gave us.
    Given(Secret<String>),
    Session {
        email: String,
        password: Secret<String>,
        /// Locked while it is refreshed: a refresh token that is used twice ends the session.
        tokens: Mutex<Tokens>,
    },
}

#[derive(Debug)]
pub(super) struct Tokens {
    access: Secret<String>,
    refresh: Secret<String>,
    replace_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
    refresh_token: String,
}

impl Tokens {
    fn granted(granted: Granted) -> Self {
        let lifetime = Duration::from_secs(granted.expires_in);
        Self {
            access: Secret::new(granted.access_token),
            refresh: Secret::new(granted.refresh_token),
            replace_at: Instant::now() + lifetime.saturating_sub(MARGIN.min(lifetime / 2)),
        }
    }
}

impl Bearer {
    pub(super) async fn log_in(
        client: &Client,
        email: &str,
        password: &Secret<String>,
    ) -> Result<Self, ClientError> {
        Ok(Self::Session {
            email: email.to_owned(),
            password: password.clone(),
            tokens: Mutex::new(log_in(client, email, password).await?),
        })
    }

    /// A token that is good for a while yet.
    pub(super) async fn token(&self, client: &Client) -> Result<Secret<String>, ClientError> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::Session { tokens, .. } => {
                let mut tokens = tokens.lock().await;
                if tokens.replace_at <= Instant::now() {
                    *tokens = self.renew(client, &tokens).await?;
                }
                Ok(tokens.access.clone())
            }
        }
    }

    /// Another token than the one that was refused, if there can be one.
    pub(super) async fn replace(
        &self,
        client: &Client,
        refused: &Secret<String>,
    ) -> Result<Option<Secret<String>>, ClientError> {
        match self {
            Self::Given(_) => Ok(None),
            Self::Session { tokens, .. } => {
                let mut tokens = tokens.lock().await;
                // Of many requests that were refused at once, the first replaces it.
                if tokens.access == *refused {
                    *tokens = self.renew(client, &tokens).await?;
                }
                Ok(Some(tokens.access.clone()))
            }
        }
    }

    async fn renew(&self, client: &Client, old: &Tokens) -> Result<Tokens, ClientError> {
        let body = json!({"refresh_token": old.refresh.expose()});
        let refreshed = post(client, "/v1/auth/refresh", &body, false).await;
        match (refreshed, self) {
            // The session has ended, or the answer was lost and with it the next refresh token.
            (Err(_), Self::Session { email, password, .. }) => {
                log_in(client, email, password).await
            }
            (refreshed, _) => refreshed,
        }
    }
}

async fn log_in(
    client: &Client,
    email: &str,
    password: &Secret<String>,
) -> Result<Tokens, ClientError> {
    let body = json!({"email": email, "password": password.expose()});
    // A second session that nobody knows of expires by itself.
    post(client, "/v1/auth/login", &body, true).await
}

async fn post(
    client: &Client,
    path: &str,
    body: &serde_json::Value,
    repeatable: bool,
) -> Result<Tokens, ClientError> {
    let mut call = client.call(Method::POST, path).json(body);
    if repeatable {
        call = call.repeatable();
    }
    let name = call.name();
    let answer = call.deliver(None).await?;
    serde_json::from_slice(&answer.body)
        .map(Tokens::granted)
        .map_err(|source| ClientError::Unreadable { call: name, source })
}
