use testkit::rows;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, other_than};

const NEW: &str = "another sentence";

#[tokio::test]
async fn reset_sets_the_password_and_ends_every_session() {
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
async fn activation_code_does_not_reset_a_password() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let refused = provider.reset_password(ANA, &code, NEW).await;
    refused.expect_problem(422, "invalid_code");
    provider.activate(ANA, &code).await.expect(204);
}

#[tokio::test]
async fn reset_code_is_invalid_after_five_wrong_attempts() {
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
async fn reset_lifts_the_limit_on_log_ins() {
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
async fn invalid_new_password_costs_no_attempt() {
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

#[tokio::test]
async fn reset_code_is_valid_for_fifteen_minutes() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let late = provider.code(ANA).await;
    provider.wait_seconds(15 * 60);
    let late = provider.reset_password(ANA, &late, NEW).await;
    late.expect_problem(422, "invalid_code");
    provider.log_in(ANA, PASSWORD).await.expect(200);

    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.wait_seconds(15 * 60 - 1);
    provider.reset_password(ANA, &code, NEW).await.expect(204);
    provider.log_in(ANA, NEW).await.expect(200);
}

#[tokio::test]
async fn unknown_address_responds_like_a_wrong_reset_code() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    let wrong = provider.reset_password(ANA, other_than(&code), NEW).await;
    let unknown = provider.reset_password("eve@example.com", "123456", NEW).await;
    assert_eq!(wrong.without_request_id(), unknown.without_request_id());
}

#[tokio::test]
async fn each_mailed_reset_code_has_five_attempts_of_its_own() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    for _ in 0..5 {
        provider.reset_password(ANA, other_than(&code), NEW).await.expect(422);
    }
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.reset_password(ANA, &code, NEW).await.expect(204);
}

#[tokio::test]
async fn reset_and_activation_change_no_other_account() {
    let mut provider = Provider::with_ana().await;
    let (bruno, carla, dora) = ("bruno@example.com", "carla@example.com", "dora@example.com");
    let code = provider.sign_up(bruno, PASSWORD).await;
    provider.activate(bruno, &code).await.expect(204);
    let session = provider.log_in(bruno, PASSWORD).await.expect(200);
    provider.sign_up(carla, PASSWORD).await;
    let code = provider.sign_up(dora, PASSWORD).await;
    let before = rows(&provider.database.pool, "identity.users", "email").await;

    provider.wait_minutes(1);
    provider.activate(dora, &code).await.expect(204);
    provider.forget_password(ANA).await.expect(202);
    let code = provider.code(ANA).await;
    provider.reset_password(ANA, &code, NEW).await.expect(204);
    let after = rows(&provider.database.pool, "identity.users", "email").await;
    let is_changed = before.iter().zip(&after).map(|(before, after)| before != after);
    assert_eq!(is_changed.collect::<Vec<_>>(), [true, false, false, true], "{after:?}");
    provider.refresh(&session.member("refresh_token")).await.expect(200);
    provider.log_in(bruno, PASSWORD).await.expect(200);
    provider.log_in(carla, PASSWORD).await.expect(401);
}
