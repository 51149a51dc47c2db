use std::time::Duration;

use futures::future::join_all;
use identity::App;
use identity::passwords::Passwords;
use serde_json::json;
use shared::http::auth::Role;
use testkit::set_back;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _};

#[tokio::test]
async fn activated_account_can_log_in() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    provider.activate(ANA, &code).await.expect(204);
    let tokens = provider.log_in(ANA, PASSWORD).await.expect(200);
    assert_eq!(tokens.header("cache-control"), "no-store");
    assert_eq!(tokens.json["token_type"], "Bearer");
    assert_eq!(tokens.json["expires_in"], 900);
    let identity = provider.verify(&tokens.member("access_token")).await;
    assert_eq!(identity.roles, [Role::Seller].into());
    let user = provider.app.find_user(ANA).await.unwrap().unwrap();
    assert_eq!((user.id, user.roles), (identity.subject, identity.roles));
}

#[tokio::test]
async fn failed_log_ins_look_alike_for_every_kind_of_address() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    let wrong = provider.log_in(ANA, "another sentence").await;
    let unknown = provider.log_in("eve@example.com", PASSWORD).await;
    let pending = provider.log_in("pending@example.com", PASSWORD).await;
    let wrong = wrong.expect_problem(401, "invalid_credentials").without_request_id();
    assert_eq!(unknown.without_request_id(), wrong);
    assert_eq!(pending.without_request_id(), wrong);
}

#[tokio::test]
async fn failed_log_ins_hash_once_for_every_kind_of_address() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    for email in [ANA, "eve@example.com", "pending@example.com"] {
        let before = provider.app.passwords.hashes();
        provider.log_in(email, "another sentence").await.expect(401);
        assert_eq!(provider.app.passwords.hashes() - before, 1, "{email}");
    }
}

#[tokio::test]
async fn address_case_is_ignored() {
    let provider = Provider::with_ana().await;
    provider.log_in("ANA@Example.COM", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn right_password_is_limited_after_ten_failures() {
    let provider = Provider::with_ana().await;
    for _ in 0..10 {
        provider.log_in(ANA, "another sentence").await.expect(401);
    }
    provider.wait_minutes(5);
    let refused = provider.log_in(ANA, PASSWORD).await;
    let refused = refused.expect_problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "601");
    provider.log_in("eve@example.com", PASSWORD).await.expect(401);
    provider.wait_minutes(10);
    provider.log_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn each_window_of_failures_has_a_limit_of_its_own() {
    let provider = Provider::with_ana().await;
    for _ in 0..3 {
        for _ in 0..10 {
            provider.log_in(ANA, "another sentence").await.expect(401);
        }
        provider.wait_seconds(15 * 60 - 1);
        provider.log_in(ANA, "another sentence").await.expect(429);
        provider.wait_seconds(1);
    }
}

#[tokio::test]
async fn unknown_address_is_limited_alike() {
    let provider = Provider::start().await;
    for _ in 0..10 {
        provider.log_in(ANA, PASSWORD).await.expect(401);
    }
    provider.log_in(ANA, PASSWORD).await.expect(429);
}

#[tokio::test]
async fn success_resets_the_failures() {
    let provider = Provider::with_ana().await;
    for _ in 0..2 {
        for _ in 0..9 {
            provider.log_in(ANA, "another sentence").await.expect(401);
        }
        provider.log_in(ANA, PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn concurrent_valid_log_ins_are_not_limited() {
    let provider = Provider::with_ana().await;
    for response in join_all((0..15).map(|_| provider.log_in(ANA, PASSWORD))).await {
        response.expect(200);
    }
}

#[tokio::test]
async fn concurrent_guesses_are_limited() {
    let provider = Provider::with_ana().await;
    let mut guesses = vec!["another sentence"; 20];
    guesses.push(PASSWORD);
    let guesses = guesses.into_iter().map(|guess| provider.log_in(ANA, guess));
    let last = join_all(guesses).await.pop();
    last.unwrap().expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn log_in_beyond_the_queue_gets_503_with_retry_after() {
    let provider = Provider::with_ana().await;
    // No hash runs, and none may wait.
    let app = App { passwords: Passwords::new(0), ..provider.app.clone() };
    let provider = provider.with_app(app);
    let refused = provider.log_in(ANA, PASSWORD).await.expect_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "2");
    // It is no failure of the account.
    assert_eq!(provider.count("attempts").await, 1, "the mail of the sign-up");
}

#[tokio::test]
async fn session_has_an_access_token_and_a_refresh_token() {
    let provider = Provider::with_ana().await;
    let tokens = provider.log_in(ANA, PASSWORD).await.expect(200);
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    let expected = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": 900,
        "refresh_token": refresh,
    });
    assert_eq!(tokens.json, expected);
    provider.verify(&access).await;
}

#[tokio::test]
async fn log_in_with_an_invalid_stored_hash_is_a_wrong_password() {
    let provider = Provider::with_ana().await;
    let unknown = provider.log_in("eve@example.com", PASSWORD).await.without_request_id();
    let mut failures = 0;
    for invalid in ["!", "", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"] {
        sqlx::query("update identity.users set password_hash = $1")
            .bind(invalid)
            .execute(&provider.database.pool)
            .await
            .unwrap();
        let before = provider.app.passwords.hashes();
        let refused = provider.log_in(ANA, PASSWORD).await;
        let refused = refused.expect_problem(401, "invalid_credentials").without_request_id();
        assert_eq!(refused, unknown, "{invalid:?}");
        assert_eq!(provider.app.passwords.hashes() - before, 1, "{invalid:?}");
        failures += 1;
        assert_eq!(made(&provider, "login", ANA).await, failures, "{invalid:?}");
    }
}

/// The attempts counted for an address.
async fn made(provider: &Provider, action: &str, email: &str) -> i32 {
    let made = "select made from identity.attempts where action = $1 and email = $2";
    let made = sqlx::query_scalar(made).bind(action).bind(email);
    made.fetch_one(&provider.database.pool).await.unwrap()
}

#[tokio::test]
async fn success_clears_the_failures_of_its_own_address_alone() {
    let mut provider = Provider::with_ana().await;
    let code = provider.sign_up("bruno@example.com", PASSWORD).await;
    for _ in 0..10 {
        provider.log_in("eve@example.com", PASSWORD).await.expect(401);
        provider.activate("eve@example.com", "000000").await.expect(422);
    }
    provider.log_in(ANA, PASSWORD).await.expect(200);
    provider.activate("bruno@example.com", &code).await.expect(204);
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.reset_password(ANA, &code, "another sentence").await.expect(204);
    provider.log_in("eve@example.com", PASSWORD).await.expect(429);
    provider.activate("eve@example.com", "000000").await.expect(429);
}

#[tokio::test]
async fn limit_ends_when_a_clock_is_set_back() {
    let provider = Provider::with_ana().await;
    for _ in 0..10 {
        provider.log_in(ANA, "another sentence").await.expect(401);
    }
    set_back(&provider.clock, Duration::from_hours(24));
    provider.log_in(ANA, PASSWORD).await.expect(200);
    // Failures are counted from then on, in a window of their own.
    provider.wait_days(1);
    provider.wait_minutes(1);
    provider.log_in(ANA, "another sentence").await.expect(401);
    set_back(&provider.clock, Duration::from_hours(24));
    for _ in 0..10 {
        provider.log_in(ANA, "another sentence").await.expect(401);
    }
    let refused = provider.log_in(ANA, PASSWORD).await.expect_problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "901");
}
