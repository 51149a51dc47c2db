//! The bearer token of a request. A session refreshes its token ahead of time, and a client that
//! signs tokens signs one for each request.

use std::time::Duration;

use axum::http::Method;
use identity::keys::Issuer;
use serde_json::json;
use shared::clock::Clock;
use shared::config::Secret;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::ClientError;
use super::http::Http;
use crate::edition::data_folder::Account;

/// How long before its expiry an access token is replaced.
const MARGIN: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(super) enum Bearer {
    /// A fixed token.
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

impl Tokens {
    fn from_response(response: identity::Tokens) -> Self {
        let lifetime = Duration::from_secs(response.expires_in.try_into().unwrap_or_default());
        Self {
            access: Secret::new(response.access_token),
            refresh: Secret::new(response.refresh_token),
            replace_at: Instant::now() + lifetime.saturating_sub(MARGIN.min(lifetime / 2)),
        }
    }
}

impl Bearer {
    pub(super) async fn log_in(
        http: &Http,
        email: &str,
        password: &Secret<String>,
    ) -> Result<Self, ClientError> {
        Ok(Self::Session {
            email: email.to_owned(),
            password: password.clone(),
            tokens: Mutex::new(log_in(http, email, password).await?),
        })
    }

    /// A token that remains valid for a while.
    pub(super) async fn token(&self, http: &Http) -> Result<Secret<String>, ClientError> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::Signed { issuer, account } => sign(issuer, account),
            Self::Session { tokens, .. } => {
                let mut tokens = tokens.lock().await;
                if tokens.replace_at <= Instant::now() {
                    *tokens = self.renew(http, &tokens).await?;
                }
                Ok(tokens.access.clone())
            }
        }
    }

    /// A token in place of the one that was refused, unless the token is fixed.
    pub(super) async fn replace(
        &self,
        http: &Http,
        refused: &Secret<String>,
    ) -> Result<Option<Secret<String>>, ClientError> {
        match self {
            Self::Given(_) => Ok(None),
            Self::Signed { issuer, account } => sign(issuer, account).map(Some),
            Self::Session { tokens, .. } => {
                let mut tokens = tokens.lock().await;
                // Of several requests refused at the same time, the first replaces the token.
                if tokens.access == *refused {
                    *tokens = self.renew(http, &tokens).await?;
                }
                Ok(Some(tokens.access.clone()))
            }
        }
    }

    async fn renew(&self, http: &Http, old: &Tokens) -> Result<Tokens, ClientError> {
        let body = json!({"refresh_token": old.refresh.expose()});
        let refreshed = post(http, "/v1/auth/refresh", &body, false).await;
        match (refreshed, self) {
            // The session has ended, or the response with the next refresh token was lost.
            (Err(_), Self::Session { email, password, .. }) => log_in(http, email, password).await,
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
    http: &Http,
    email: &str,
    password: &Secret<String>,
) -> Result<Tokens, ClientError> {
    let body = json!({"email": email, "password": password.expose()});
    // Repeatable: if a response is lost, its session expires by itself.
    post(http, "/v1/auth/login", &body, true).await
}

async fn post(
    http: &Http,
    path: &str,
    body: &serde_json::Value,
    repeatable: bool,
) -> Result<Tokens, ClientError> {
    let mut request = http.request(Method::POST, path);
    request.set_json(body);
    request.repeatable = repeatable;
    let response = request.deliver(None).await?;
    serde_json::from_slice(&response.body)
        .map(Tokens::from_response)
        .map_err(|source| ClientError::Unreadable { call: request.name(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use identity::keys::SigningKey;
    use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
    use shared::id::{Ids, UserId};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn token_is_replaced_ninety_seconds_before_its_expiry() {
        let kept = |expires_in| {
            let response: identity::Tokens = serde_json::from_value(json!({
                "access_token": "a", "refresh_token": "r", "token_type": "Bearer",
                "expires_in": expires_in,
            }))
            .unwrap();
            // Paused time: it is the same as when the response was read.
            Tokens::from_response(response).replace_at - Instant::now()
        };
        assert_eq!(kept(900), Duration::from_secs(810));
        assert_eq!(kept(180), Duration::from_secs(90));
        // A short-lived token is used for half of its lifetime.
        assert_eq!(kept(179), Duration::from_millis(89_500));
        assert_eq!(kept(0), Duration::ZERO);
    }

    #[tokio::test]
    async fn each_request_gets_a_fresh_token() {
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
            id: UserId::from_u128(7),
            roles: BTreeSet::from([Role::Operator]),
        };
        let http = Http::new("http://127.0.0.1:1").unwrap();
        let bearer = Bearer::Signed { issuer, account: account.clone() };
        let mut tokens = Vec::new();
        for _ in 0..2 {
            tokens.push(bearer.token(&http).await.unwrap());
        }
        tokens.push(bearer.replace(&http, &tokens[1]).await.unwrap().unwrap());
        for token in &tokens {
            let identity = verifier.verify(token.expose()).await.unwrap();
            assert_eq!((identity.subject, &identity.roles), (account.id, &account.roles));
        }
        assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    }
}
