//! What a request costs: its time must not reveal whether an address has an account, and a refused one must
//! not fill the slots for hashing.

use identity::EXPENSIVE_PATHS;
use serde_json::{Value, json};

use crate::support::{ANA, PASSWORD, Provider, signup};

const PENDING: &str = "pending@example.com";

/// The body of a request that fails or has no effect, its action, and how many passwords it hashes.
fn request(path: &str, email: &str) -> (Value, &'static str, u64) {
    let code = "000000";
    match path {
        "/v1/auth/signup" => (signup(email, PASSWORD), "mail", 1),
        "/v1/auth/activate" => (json!({"email": email, "code": code}), "code", 0),
        "/v1/auth/login" => (json!({"email": email, "password": "not it at all"}), "login", 1),
        "/v1/auth/password/forgot" => (json!({"email": email}), "mail", 0),
        "/v1/auth/password/reset" => {
            (json!({"email": email, "code": code, "password": PASSWORD}), "code", 1)
        }
        other => panic!("add a row for {other}"),
    }
}

async fn hashes_of(provider: &Provider, path: &str, body: Value) -> (u16, u64) {
    let before = provider.app.passwords.hashes();
    let response = provider.post(path, body).await;
    (response.status.as_u16(), provider.app.passwords.hashes() - before)
}

#[tokio::test]
async fn every_kind_of_address_costs_equally_many_hashes() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up(PENDING, PASSWORD).await;
    for path in EXPENSIVE_PATHS {
        let mut seen = Vec::new();
        for email in [ANA, PENDING, "eve@example.com"] {
            let (body, _, expected) = request(path, email);
            let (status, hashes) = hashes_of(&provider, path, body).await;
            assert_eq!(hashes, expected, "{path} {email}");
            seen.push(status);
        }
        assert!([[202; 3], [401; 3], [422; 3]].contains(&seen[..].try_into().unwrap()), "{seen:?}");
    }
}

#[tokio::test]
async fn request_beyond_the_limit_of_its_address_costs_no_hash() {
    let provider = Provider::with_ana().await;
    for path in EXPENSIVE_PATHS {
        for email in [ANA, "eve@example.com"] {
            let (body, action, _) = request(path, email);
            let used_up = "insert into identity.attempts as a (action, email, made, since)
                           values ($1, $2, 10, $3)
                           on conflict on constraint attempts_pkey do update set made = 10";
            sqlx::query(used_up)
                .bind(action)
                .bind(email)
                .bind(provider.clock.now())
                .execute(&provider.database.pool)
                .await
                .unwrap();
            assert_eq!(hashes_of(&provider, path, body).await, (429, 0), "{path} {email}");
        }
    }
}
