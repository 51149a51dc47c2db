use futures::future::join_all;
use serde_json::json;

use crate::support::{ANA, Provider, ResponseExt as _};

#[tokio::test]
async fn refresh_returns_the_next_token_and_an_access_token() {
    let provider = Provider::with_ana().await;
    let first = provider.refresh_token().await;
    provider.wait_minutes(20);
    let tokens = provider.refresh(&first).await.expect(200);
    assert_eq!(tokens.header("cache-control"), "no-store");
    provider.verify(&tokens.member("access_token")).await;
    let second = tokens.member("refresh_token");
    assert_ne!(first, second);
    provider.refresh(&second).await.expect(200);
}

#[tokio::test]
async fn reused_token_ends_its_session_and_no_other() {
    let provider = Provider::with_ana().await;
    let (stolen, other) = (provider.refresh_token().await, provider.refresh_token().await);
    let next = provider.refresh(&stolen).await.expect(200);
    let again = provider.refresh(&stolen).await;
    again.expect_problem(401, "invalid_refresh_token");
    let next = provider.refresh(&next.member("refresh_token")).await;
    next.expect_problem(401, "invalid_refresh_token");
    provider.refresh(&other).await.expect(200);
}

#[tokio::test]
async fn concurrent_use_of_a_token_has_one_winner_and_ends_it() {
    let provider = Provider::with_ana().await;
    for _ in 0..10 {
        let token = provider.refresh_token().await;
        let responses = join_all((0..2).map(|_| provider.refresh(&token))).await;
        let mut winners = responses.into_iter().filter(|response| response.status == 200);
        let winner = winners.next().unwrap();
        assert!(winners.next().is_none(), "both won");
        let next = provider.refresh(&winner.member("refresh_token")).await;
        next.expect_problem(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn refresh_token_is_valid_for_thirty_days() {
    let provider = Provider::with_ana().await;
    let (in_time, too_late) = (provider.refresh_token().await, provider.refresh_token().await);
    provider.wait_days(29);
    provider.wait_minutes(24 * 60 - 1);
    provider.refresh(&in_time).await.expect(200);
    provider.wait_minutes(1);
    let late = provider.refresh(&too_late).await;
    late.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn refreshed_tokens_belong_to_the_same_user() {
    let provider = Provider::with_ana().await;
    let user = provider.app.find_user(ANA).await.unwrap().unwrap();
    let tokens = provider.refresh(&provider.refresh_token().await).await.expect(200);
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    let expected = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": 900,
        "refresh_token": refresh,
    });
    assert_eq!(tokens.json, expected);
    let identity = provider.verify(&access).await;
    assert_eq!((identity.subject, identity.roles), (user.id, user.roles));
}

#[tokio::test]
async fn unknown_token_is_refused() {
    let provider = Provider::start().await;
    for unknown in ["", "nonsense", "\u{0}"] {
        provider.refresh(unknown).await.expect_problem(401, "invalid_refresh_token");
    }
}
