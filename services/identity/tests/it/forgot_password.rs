use serde_json::json;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _};

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
    provider.assert_no_mail(&["pending@example.com", "eve@example.com"]).await;
}

#[tokio::test]
async fn request_is_accepted_and_mails_a_code_of_six_digits() {
    let mut provider = Provider::with_ana().await;
    let response = provider.forget_password(ANA).await.expect(202);
    assert_eq!(response.json, json!({"detail": "check the mailbox of this address"}));
    let code = provider.code(ANA).await;
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    // The old password stays valid until the code is used.
    provider.log_in(ANA, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn new_code_replaces_the_older_one() {
    let mut provider = Provider::with_ana().await;
    provider.forget_password(ANA).await.expect(202);
    let older = provider.code(ANA).await;
    provider.forget_password(ANA).await.expect(202);
    let newer = provider.code(ANA).await;
    if older != newer {
        let refused = provider.reset_password(ANA, &older, "another sentence").await;
        refused.expect_problem(422, "invalid_code");
    }
    provider.reset_password(ANA, &newer, "another sentence").await.expect(204);
}
