use std::collections::BTreeSet;

use identity::{delete_expired, demo};
use shared::config::Secret;
use shared::host::tick::Progress;
use sqlx::Row as _;

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
    let mut rows = String::new();
    for table in TABLES {
        let statement = format!("select row_to_json(t)::text from identity.{table} t");
        let found = sqlx::query(sqlx::AssertSqlSafe(statement))
            .fetch_all(&provider.database.pool)
            .await
            .unwrap();
        assert!(!found.is_empty(), "{table}");
        for row in found {
            rows.push_str(row.get(0));
        }
    }
    assert!(rows.contains(ANA));
    assert!(!rows.contains(&token));
    assert!(!rows.contains(&format!("\"{code}\"")));
    assert!(!rows.contains(PASSWORD));
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
