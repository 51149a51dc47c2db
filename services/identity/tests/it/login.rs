use futures::future::join_all;

use crate::support::{ANA, AnswerExt as _, PASSWORD, Provider};

#[tokio::test]
async fn nobody_can_tell_a_wrong_password_from_an_unknown_or_a_pending_address() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    let wrong = provider.log_in(ANA, "another sentence").await;
    let unknown = provider.log_in("eve@example.com", PASSWORD).await;
    let pending = provider.log_in("pending@example.com", PASSWORD).await;
    let wrong = wrong.expect_problem(401, "invalid_credentials").apart_from_its_id();
    assert_eq!(unknown.apart_from_its_id(), wrong);
    assert_eq!(pending.apart_from_its_id(), wrong);
}

#[tokio::test]
async fn an_unknown_or_pending_address_takes_as_much_work_as_a_wrong_password() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    for email in [ANA, "eve@example.com", "pending@example.com"] {
        let before = provider.app.passwords.made();
        provider.log_in(email, "another sentence").await.expect(401);
        assert_eq!(provider.app.passwords.made() - before, 1, "{email}");
    }
}

#[tokio::test]
async fn an_address_is_the_same_however_it_is_written() {
    let provider = Provider::with_ana().await;
    provider.log_in("ANA@Example.COM", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn after_ten_failures_even_the_right_password_has_to_wait() {
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
async fn an_address_that_nobody_has_is_limited_alike() {
    let provider = Provider::start().await;
    for _ in 0..10 {
        provider.log_in(ANA, PASSWORD).await.expect(401);
    }
    provider.log_in(ANA, PASSWORD).await.expect(429);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let provider = Provider::with_ana().await;
    for _ in 0..2 {
        for _ in 0..9 {
            provider.log_in(ANA, "another sentence").await.expect(401);
        }
        provider.log_in(ANA, PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn many_good_log_ins_at_once_do_not_lock_anybody_out() {
    let provider = Provider::with_ana().await;
    for answer in join_all((0..30).map(|_| provider.log_in(ANA, PASSWORD))).await {
        answer.expect(200);
    }
}

#[tokio::test]
async fn guesses_that_come_all_at_once_are_limited_alike() {
    let provider = Provider::with_ana().await;
    let mut guesses = vec!["another sentence"; 60];
    guesses.push(PASSWORD);
    let guesses = guesses.into_iter().map(|guess| provider.log_in(ANA, guess));
    let last = join_all(guesses).await.pop();
    last.unwrap().expect_problem(429, "rate_limited");
}

#[tokio::test]
async fn who_would_wait_too_long_is_told_to_come_again() {
    let provider = Provider::with_ana().await;
    let answers = join_all((0..200).map(|_| provider.log_in(ANA, PASSWORD))).await;
    let (good, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(good.len() >= 130, "{}", good.len());
    assert!(!refused.is_empty());
    for answer in refused {
        let answer = answer.expect_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "2");
    }
}
