use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use identity::{delete_expired, demo};
use shared::config::Secret;
use shared::host::tick::Progress;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, TABLES, signup};

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[tokio::test]
async fn every_route_is_described_under_one_tag() {
    let api = serde_json::to_value(identity::routes().to_openapi()).unwrap();
    let paths = api["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9);
    for (path, methods) in paths {
        for operation in methods.as_object().unwrap().values() {
            assert_eq!(operation["tags"][0], "identity", "{path}");
        }
    }
}

#[tokio::test]
async fn demo_users_are_created_once_and_keep_their_password() {
    let provider = Provider::start().await;
    let app = &provider.app;
    let created = demo::ensure_users(app, &secret(PASSWORD)).await.unwrap();
    assert!(
        created.len() == 3 && created.iter().all(|user| user.has_given_password),
        "{created:?}"
    );
    assert_eq!(demo::ensure_users(app, &secret(PASSWORD)).await.unwrap(), created);
    let mut users = Vec::new();
    for (address, _, role) in demo::USERS {
        provider.log_in(address, PASSWORD).await.expect(200);
        let user = app.find_user(address).await.unwrap().unwrap();
        assert_eq!(user.roles, BTreeSet::from([role]));
        users.push(user);
    }
    let other = secret("another sentence");
    let found = demo::ensure_users(app, &other).await.unwrap();
    for (((address, ..), user), found) in demo::USERS.into_iter().zip(users).zip(found) {
        provider.log_in(address, PASSWORD).await.expect(200);
        assert_eq!(app.find_user(address).await.unwrap(), Some(user.clone()));
        assert_eq!(found, demo::DemoUser { email: address, user, has_given_password: false });
    }
}

#[tokio::test]
async fn demo_user_replaces_a_claim_on_its_address() {
    let mut provider = Provider::start().await;
    let (operator, ..) = demo::USERS[2];
    let code = provider.sign_up(operator, "a stranger's password").await;
    demo::ensure_users(&provider.app, &secret(PASSWORD)).await.unwrap();
    provider.activate(operator, &code).await;
    provider.log_in(operator, "a stranger's password").await.expect(401);
    provider.log_in(operator, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn claimed_address_is_not_a_user() {
    let mut provider = Provider::start().await;
    provider.sign_up(ANA, PASSWORD).await;
    assert_eq!(provider.app.find_user(ANA).await.unwrap(), None);
    assert_eq!(provider.app.find_user("not an address").await.unwrap(), None);
}

#[tokio::test]
async fn database_has_no_plain_token_code_or_password() {
    let mut provider = Provider::with_ana().await;
    let token = provider.refresh_token().await;
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    let mut values = Vec::new();
    for table in TABLES {
        let statement = format!(
            "select column_name, value from identity.{table} t, jsonb_each_text(to_jsonb(t)) as row(column_name, value) where value is not null"
        );
        let found: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .fetch_all(&provider.database.pool)
            .await
            .unwrap();
        assert!(!found.is_empty(), "{table}");
        values.extend(found.into_iter().map(|(name, value)| (format!("{table}.{name}"), value)));
    }
    assert!(values.iter().any(|(_, value)| value == ANA));
    let decoded = URL_SAFE_NO_PAD.decode(&token).unwrap();
    let secrets = [token.as_bytes(), &decoded, code.as_bytes(), PASSWORD.as_bytes()].map(encodings);
    let found: Vec<_> = values
        .iter()
        .filter(|(_, value)| {
            let is_number = value == code.trim_start_matches('0');
            is_number || secrets.iter().any(|secret| is_in(secret, value))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The texts by which the database can show a secret: as it is, as `bytea`, and in Base64.
fn encodings(secret: &[u8]) -> Vec<String> {
    let text = String::from_utf8(secret.to_vec()).ok();
    let base64 = [STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)];
    text.into_iter().chain([testkit::hex(secret)]).chain(base64).collect()
}

/// Whether a value shows a secret in one of its encodings.
fn is_in(encodings: &[String], value: &str) -> bool {
    let (value, bytes) = (value.to_lowercase(), value.starts_with("\\x"));
    encodings.iter().any(|encoding| {
        // The digits of a hash may happen to contain those of a code.
        let is_short = encoding.len() < 8;
        if is_short && bytes { false } else { value.contains(&encoding.to_lowercase()) }
    })
}

#[test]
fn secret_is_recognised_in_every_encoding() {
    let secret = encodings(b"012345");
    for value in ["012345", "code 012345", "\\x303132333435", "303132333435", "MDEyMzQ1"] {
        assert!(is_in(&secret, value), "{value}");
    }
    assert!(!is_in(&secret, "\\x9f012345"), "a hash with these digits");
}

async fn rows(provider: &Provider) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in TABLES {
        counts.push(provider.count(table).await);
    }
    counts
}

#[tokio::test]
async fn expired_rows_are_deleted_and_no_others() {
    let provider = Provider::with_ana().await;
    let pending = signup("pending@example.com", PASSWORD);
    let pending = provider.post("/v1/auth/signup", pending).await;
    pending.expect(202);
    let tokens = provider.log_in(ANA, PASSWORD).await.expect(200);
    provider.log_in(ANA, "another sentence").await.expect(401);
    // Ana and the claim, its code, a session with its token, two mail counters and one of log-ins
    assert_eq!(rows(&provider).await, [2, 1, 1, 1, 3]);
    let progress = delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(progress, Progress::Idle);
    assert_eq!(rows(&provider).await, [2, 1, 1, 1, 3]);

    provider.wait_minutes(16);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(rows(&provider).await, [2, 0, 1, 1, 0]);

    // A claim is kept for seven days.
    provider.wait_minutes(7 * 24 * 60 - 16);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(rows(&provider).await, [2, 0, 1, 1, 0]);
    provider.wait_seconds(1);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(rows(&provider).await, [1, 0, 1, 1, 0]);

    provider.wait_days(22);
    let next = provider.refresh(&tokens.member("refresh_token")).await;
    let next = next.expect(200);
    provider.wait_days(2);
    delete_expired::once(&provider.app).await.unwrap();
    // The first token is gone; the session goes on.
    assert_eq!(rows(&provider).await, [1, 0, 1, 1, 0]);
    provider.refresh(&next.member("refresh_token")).await.expect(200);

    provider.wait_days(31);
    delete_expired::once(&provider.app).await.unwrap();
    assert_eq!(rows(&provider).await, [1, 0, 0, 0, 0]);
}
