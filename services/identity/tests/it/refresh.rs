use futures::future::join_all;
use sqlx::Row as _;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, TABLES};

async fn log_in(provider: &Provider) -> String {
    let tokens = provider.log_in(ANA, PASSWORD).await.expect(200);
    tokens.member("refresh_token")
}

#[tokio::test]
async fn refresh_returns_the_next_token_and_an_access_token() {
    let provider = Provider::with_ana().await;
    let first = log_in(&provider).await;
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
    let (stolen, other) = (log_in(&provider).await, log_in(&provider).await);
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
        let token = log_in(&provider).await;
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
    let (in_time, too_late) = (log_in(&provider).await, log_in(&provider).await);
    provider.wait_days(29);
    provider.wait_minutes(24 * 60 - 1);
    provider.refresh(&in_time).await.expect(200);
    provider.wait_minutes(1);
    let late = provider.refresh(&too_late).await;
    late.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn logout_ends_the_session_of_any_of_its_tokens() {
    let provider = Provider::with_ana().await;
    let first = log_in(&provider).await;
    let second = provider.refresh(&first).await.expect(200);
    provider.log_out(&first).await.expect(204);
    let second = provider.refresh(&second.member("refresh_token")).await;
    second.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn logout_response_is_the_same_without_a_session() {
    let provider = Provider::with_ana().await;
    let token = log_in(&provider).await;
    let good = provider.log_out(&token).await.expect(204);
    let again = provider.log_out(&token).await;
    let unknown = provider.log_out("\u{0} nothing").await;
    let good = good.without_request_id();
    assert_eq!(again.without_request_id(), good);
    assert_eq!(unknown.without_request_id(), good);
}

#[tokio::test]
async fn database_has_no_plain_token_code_or_password() {
    let mut provider = Provider::with_ana().await;
    let token = log_in(&provider).await;
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
