use futures::future::join_all;
use serde_json::json;
use shared::http::auth::Role;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, signup};

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
    provider.assert_no_mail(&[ANA]).await;
}

#[tokio::test]
async fn signup_is_accepted_and_mails_a_code_of_six_digits() {
    let mut provider = Provider::start().await;
    let response = provider.post("/v1/auth/signup", signup(ANA, PASSWORD)).await.expect(202);
    assert_eq!(response.json, json!({"detail": "check the mailbox of this address"}));
    let code = provider.code(ANA).await;
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    provider.assert_no_mail(&[ANA]).await;
}

/// The roles that the API description offers for a sign-up.
fn offered() -> Vec<String> {
    let api = serde_json::to_value(identity::routes().to_openapi()).unwrap();
    let offered = api["components"]["schemas"]["SignupRole"]["enum"].clone();
    serde_json::from_value(offered).unwrap()
}

#[tokio::test]
async fn account_and_tokens_have_exactly_the_role_of_the_signup() {
    let mut provider = Provider::start().await;
    let mut accepted = Vec::new();
    for role in Role::ALL {
        let email = format!("{}@example.com", role.as_str());
        let mut body = signup(&email, PASSWORD);
        body["role"] = json!(role);
        let response = provider.post("/v1/auth/signup", body).await;
        if response.status == 422 {
            assert_eq!(response.json["errors"][0]["pointer"], "/role", "{role:?}");
            continue;
        }
        accepted.push(role.as_str().to_owned());
        let code = provider.code(&email).await;
        provider.activate(&email, &code).await.expect(204);
        let user = provider.app.find_user(&email).await.unwrap().unwrap();
        assert_eq!(user.roles, [role].into());
        let first = provider.log_in(&email, PASSWORD).await.expect(200);
        let next = provider.refresh(&first.member("refresh_token")).await.expect(200);
        for tokens in [first, next] {
            let identity = provider.verify(&tokens.member("access_token")).await;
            assert_eq!((identity.subject, identity.roles), (user.id, [role].into()));
        }
    }
    let mut offered = offered();
    offered.sort();
    accepted.sort();
    assert_eq!(accepted, offered);
}

#[tokio::test]
async fn latest_claim_of_an_address_decides_its_role() {
    let mut provider = Provider::start().await;
    for roles in [["seller", "buyer"], ["buyer", "seller"]] {
        let email = format!("{}@example.com", roles.concat());
        let mut latest = String::new();
        for role in roles {
            let mut body = signup(&email, PASSWORD);
            body["role"] = json!(role);
            provider.post("/v1/auth/signup", body).await.expect(202);
            latest = provider.code(&email).await;
        }
        provider.activate(&email, &latest).await.expect(204);
        let user = provider.app.find_user(&email).await.unwrap().unwrap();
        assert_eq!(user.roles, [roles[1].parse().unwrap()].into());
    }
}

#[tokio::test]
async fn only_a_mail_after_the_first_warns_of_an_earlier_sign_up() {
    let mut provider = Provider::start().await;
    for warns in [false, true, true] {
        provider.post("/v1/auth/signup", signup(ANA, PASSWORD)).await.expect(202);
        let mail = provider.mail(ANA).await;
        assert_eq!(mail.contains("It was not the first sign-up"), warns, "{mail}");
    }
}
