use crate::support::{Provider, ResponseExt as _};

#[tokio::test]
async fn logout_ends_the_session_of_any_of_its_tokens() {
    let provider = Provider::with_ana().await;
    let first = provider.refresh_token().await;
    let second = provider.refresh(&first).await.expect(200);
    provider.log_out(&first).await.expect(204);
    let second = provider.refresh(&second.member("refresh_token")).await;
    second.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn logout_response_is_the_same_without_a_session() {
    let provider = Provider::with_ana().await;
    let token = provider.refresh_token().await;
    let good = provider.log_out(&token).await.expect(204);
    let again = provider.log_out(&token).await;
    let unknown = provider.log_out("\u{0} nothing").await;
    let good = good.without_request_id();
    assert_eq!(again.without_request_id(), good);
    assert_eq!(unknown.without_request_id(), good);
}

#[tokio::test]
async fn logout_ends_its_own_session_and_no_other() {
    let provider = Provider::with_ana().await;
    let (left, kept) = (provider.refresh_token().await, provider.refresh_token().await);
    let response = provider.log_out(&left).await.expect(204);
    assert_eq!((response.text.as_str(), response.header("content-type")), ("", ""));
    provider.refresh(&left).await.expect_problem(401, "invalid_refresh_token");
    provider.refresh(&kept).await.expect(200);
}
