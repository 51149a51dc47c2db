use crate::support::{ANA, AnswerExt as _, PASSWORD, Provider, other_than};

const NEW: &str = "another sentence";

#[tokio::test]
async fn who_forgot_a_password_sets_another_and_every_session_ends() {
    let mut provider = Provider::with_ana().await;
    let session = provider.log_in(ANA, PASSWORD).await.expect(200);
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.reset_password(ANA, &code, NEW).await.expect(204);
    provider.log_in(ANA, PASSWORD).await.expect(401);
    provider.log_in(ANA, NEW).await.expect(200);
    let refused = provider.refresh(&session.member("refresh_token")).await;
    refused.expect_problem(401, "invalid_refresh_token");
    let again = provider.reset_password(ANA, &code, PASSWORD).await;
    again.expect_problem(422, "invalid_code");
}

#[tokio::test]
async fn an_address_without_an_active_account_gets_no_code_and_the_same_answer() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    let pending = provider.forget_password("pending@example.com").await;
    let unknown = provider.forget_password("eve@example.com").await;
    let active = provider.forget_password(ANA).await.expect(202);
    provider.code(ANA).await;
    let active = active.apart_from_its_id();
    assert_eq!(pending.apart_from_its_id(), active);
    assert_eq!(unknown.apart_from_its_id(), active);
    assert!(provider.unread("pending@example.com").is_empty());
    assert!(provider.unread("eve@example.com").is_empty());
}

#[tokio::test]
async fn a_code_for_activation_does_not_reset_a_password() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let refused = provider.reset_password(ANA, &code, NEW).await;
    refused.expect_problem(422, "invalid_code");
    provider.activate(ANA, &code).await.expect(204);
}

#[tokio::test]
async fn a_reset_code_is_dead_after_five_wrong_ones() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    for _ in 0..5 {
        let wrong = provider.reset_password(ANA, other_than(&code), NEW).await;
        wrong.expect_problem(422, "invalid_code");
    }
    let late = provider.reset_password(ANA, &code, NEW).await;
    late.expect_problem(422, "invalid_code");
    provider.log_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_new_password_lets_in_at_once_whoever_failed_before() {
    let mut provider = Provider::with_ana().await;
    for _ in 0..10 {
        provider.log_in(ANA, NEW).await.expect(401);
    }
    provider.log_in(ANA, PASSWORD).await.expect(429);
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.reset_password(ANA, &code, NEW).await.expect(204);
    provider.log_in(ANA, NEW).await.expect(200);
}

#[tokio::test]
async fn a_bad_password_is_refused_and_costs_no_try() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    for _ in 0..6 {
        let refused = provider.reset_password(ANA, &code, "short").await;
        let refused = refused.expect_problem(422, "invalid_request");
        assert_eq!(refused.json["errors"][0]["pointer"], "/password");
    }
    provider.reset_password(ANA, &code, NEW).await.expect(204);
}
