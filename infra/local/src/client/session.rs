//! Whose requests they are. A session outlives its access token: it is refreshed ahead of time; and
//! whoever signs tokens has a new one for every request.

use std::time::Duration;

use axum::http::Method;
use identity::keys::Issuer;
use serde::Deserialize;
use serde_json::json;
use shared::clock::Clock;
use shared::config::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Client, ClientError};
use crate::data::Account;

/// An access token is replaced so long before its end.
const MARGIN: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(super) enum Bearer {
    /// A token that somebody gave us.
    Given(Secret<String>),
    Signed {
        issuer: Issuer,
        account: Account,
    },
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
            Self::Signed { issuer, account } => sign(issuer, account),
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
            Self::Signed { issuer, account } => sign(issuer, account).map(Some),
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

fn sign(issuer: &Issuer, account: &Account) -> Result<Secret<String>, ClientError> {
    issuer
        .issue(account.id, &account.roles, Clock::System.now())
        .map(Secret::new)
        .map_err(|error| ClientError::Unsigned(Box::new(error)))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use identity::keys::SigningKey;
    use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
    use shared::id::Ids;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn whoever_signs_tokens_has_another_one_for_each_request_and_for_one_that_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_create(&directory.path().join("key")).unwrap();
        let issuer = Issuer::new(key, "us", "them", Ids::System);
        let verifier = Verifier::new(
            AuthConfig {
                issuer: "us".to_owned(),
                audience: "them".to_owned(),
                keys: KeySource::Fixed(issuer.jwks()),
                roles_claim: "roles".to_owned(),
            },
            Clock::System,
        );
        let account = Account {
            email: "ana@example.com".to_owned(),
            id: Uuid::max(),
            roles: BTreeSet::from([Role::Operator]),
        };
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let client = client.with_issuer(issuer, account.clone());
        let bearer = client.bearer.as_ref().unwrap();
        let mut tokens = Vec::new();
        for _ in 0..2 {
            tokens.push(client.token().await.unwrap().unwrap());
        }
        tokens.push(bearer.replace(&client, &tokens[1]).await.unwrap().unwrap());
        for token in &tokens {
            let identity = verifier.verify(token.expose()).await.unwrap();
            assert_eq!((identity.subject, &identity.roles), (account.id, &account.roles));
        }
        assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    }
}
