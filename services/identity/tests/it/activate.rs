use futures::future::join_all;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, other_than, signup};

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
async fn activation_code_is_valid_for_fifteen_minutes() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let late = provider.sign_up("bruno@example.com", PASSWORD).await;
    provider.wait_seconds(15 * 60 - 1);
    provider.activate(ANA, &code).await.expect(204);
    provider.wait_seconds(1);
    let late = provider.activate("bruno@example.com", &late).await;
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
async fn account_cannot_log_in_before_its_activation() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    provider.log_in(ANA, PASSWORD).await.expect_problem(401, "invalid_credentials");
    let activated = provider.activate(ANA, &code).await.expect(204);
    assert_eq!((activated.text.as_str(), activated.header("content-type")), ("", ""));
    provider.log_in(ANA, PASSWORD).await.expect(200);
}
