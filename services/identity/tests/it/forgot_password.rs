use crate::support::{ANA, AnswerExt as _, PASSWORD, Provider};

#[tokio::test]
async fn inactive_address_gets_no_code_and_the_same_response() {
    let mut provider = Provider::with_ana().await;
    provider.sign_up("pending@example.com", PASSWORD).await;
    let pending = provider.forget_password("pending@example.com").await;
    let unknown = provider.forget_password("eve@example.com").await;
    let active = provider.forget_password(ANA).await.expect(202);
    provider.code(ANA).await;
    let active = active.without_request_id();
    assert_eq!(pending.without_request_id(), active);
    assert_eq!(unknown.without_request_id(), active);
    assert!(provider.unread("pending@example.com").is_empty());
    assert!(provider.unread("eve@example.com").is_empty());
}
