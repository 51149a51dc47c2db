use futures::future::join_all;
use serde_json::json;
use shared::http::auth::Role;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, other_than, signup};

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
async fn signup_response_is_the_same_for_every_kind_of_address() {
    let mut provider = Provider::start().await;
    let sign_up = async |provider: &Provider| {
        let response = provider.post("/v1/auth/signup", signup(ANA, PASSWORD)).await;
        response.expect(202).without_request_id()
    };
    let new = sign_up(&provider).await;
    provider.code(ANA).await;
    let pending = sign_up(&provider).await;
    let code = provider.code(ANA).await;
    provider.activate(ANA, &code).await.expect(204);
    let active = sign_up(&provider).await;
    assert_eq!(new, pending);
    assert_eq!(new, active);
    let mail = provider.mail(ANA).await;
    assert!(mail.contains("attempt to sign up"), "{mail}");
}

#[tokio::test]
async fn signup_with_an_active_address_changes_nothing() {
    let mut provider = Provider::with_ana().await;
    provider.post("/v1/auth/signup", signup(ANA, "another sentence")).await.expect(202);
    provider.mail(ANA).await;
    provider.log_in(ANA, PASSWORD).await.expect(200);
    provider.log_in(ANA, "another sentence").await.expect(401);
}

#[tokio::test]
async fn code_activates_its_own_password_and_replaces_older_codes() {
    let mut provider = Provider::start().await;
    let strangers = provider.sign_up(ANA, "a stranger's password").await;
    provider.post("/v1/auth/signup", signup("Ana@Example.com", PASSWORD)).await.expect(202);
    let mail = provider.mail(ANA).await;
    assert!(mail.contains("It was not the first sign-up"), "{mail}");
    let (_, anas) = mail.split_once("Activation code: ").unwrap();
    if strangers != anas[..6] {
        let old = provider.activate(ANA, &strangers).await;
        old.expect_problem(422, "invalid_code");
    }
    provider.activate(ANA, &anas[..6]).await.expect(204);
    provider.log_in(ANA, "a stranger's password").await.expect(401);
    provider.log_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn code_works_once() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    provider.activate(ANA, &code).await.expect(204);
    let again = provider.activate(ANA, &code).await;
    again.expect_problem(422, "invalid_code");
}

#[tokio::test]
async fn code_is_invalid_after_five_concurrent_wrong_attempts() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let wrong = other_than(&code);
    for response in join_all((0..5).map(|_| provider.activate(ANA, wrong))).await {
        response.expect_problem(422, "invalid_code");
    }
    let late = provider.activate(ANA, &code).await;
    late.expect_problem(422, "invalid_code");
}

#[tokio::test]
async fn code_survives_four_wrong_attempts() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    for _ in 0..4 {
        provider.activate(ANA, other_than(&code)).await.expect(422);
    }
    provider.activate(ANA, &code).await.expect(204);
}

#[tokio::test]
async fn code_expires() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    provider.wait_minutes(15);
    let late = provider.activate(ANA, &code).await;
    late.expect_problem(422, "invalid_code");
}

#[tokio::test]
async fn new_codes_do_not_reset_the_limit_of_the_address() {
    let mut provider = Provider::start().await;
    for _ in 0..2 {
        let code = provider.sign_up(ANA, PASSWORD).await;
        for _ in 0..5 {
            provider.activate(ANA, other_than(&code)).await.expect(422);
        }
    }
    let code = provider.sign_up(ANA, PASSWORD).await;
    let refused = provider.activate(ANA, &code).await;
    let refused = refused.expect_problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "901");
    provider.wait_minutes(15);
    let code = provider.sign_up(ANA, PASSWORD).await;
    provider.activate(ANA, &code).await.expect(204);
}

#[tokio::test]
async fn unknown_address_responds_like_a_wrong_code() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let wrong = provider.activate(ANA, other_than(&code)).await;
    let unknown = provider.activate("eve@example.com", "123456").await;
    assert_eq!(wrong.without_request_id(), unknown.without_request_id());
}

#[tokio::test]
async fn mail_per_address_is_limited() {
    let mut provider = Provider::start().await;
    for _ in 0..5 {
        provider.sign_up(ANA, PASSWORD).await;
        provider.forget_password(ANA).await.expect(202);
    }
    let eleventh = provider.post("/v1/auth/signup", signup(ANA, PASSWORD)).await;
    eleventh.expect_problem(429, "rate_limited");
    let eleventh = provider.forget_password(ANA).await;
    eleventh.expect_problem(429, "rate_limited");
    provider.sign_up("eve@example.com", PASSWORD).await;
}

#[tokio::test]
async fn concurrent_signups_with_one_address_make_one_account() {
    let provider = Provider::start().await;
    let signups = (0..4).map(|_| provider.post("/v1/auth/signup", signup(ANA, PASSWORD)));
    for response in join_all(signups).await {
        response.expect(202);
    }
    assert_eq!(provider.count("users").await, 1);
}

#[tokio::test]
async fn invalid_signup_is_refused_with_a_pointer() {
    let provider = Provider::start().await;
    let long = "x".repeat(201);
    for (member, value) in [
        ("email", json!("ana")),
        ("email", json!("ana@example.com\r\nBcc: eve@example.com")),
        ("email", json!(7)),
        ("password", json!("short")),
        ("password", json!("a long\u{0} sentence")),
        ("name", json!(" ")),
        ("name", json!("Ana\u{7}")),
        ("name", json!("Ana\u{202e}")),
        ("name", json!(long)),
        ("role", json!("operator")),
        ("role", json!(null)),
        ("admin", json!(true)),
    ] {
        let mut body = signup(ANA, PASSWORD);
        body[member] = value;
        let response = provider.post("/v1/auth/signup", body.clone()).await;
        let response = response.expect_problem(422, "invalid_request");
        let pointer = format!("/{member}");
        assert_eq!(response.json["errors"][0]["pointer"], pointer, "{body}");
    }
    assert!(provider.unread(ANA).is_empty());
}
