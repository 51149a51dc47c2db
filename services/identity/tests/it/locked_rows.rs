//! Requests that meet another one on the same row.

use testkit::locks_are_awaited;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, code_in};

#[tokio::test]
async fn log_in_with_a_password_that_is_being_reset_is_refused() {
    let provider = Provider::with_ana().await;
    let pool = &provider.database.pool;
    let mut reset = pool.begin().await.unwrap();
    let change = "update identity.users set password_hash = 'another' where email = $1";
    sqlx::query(change).bind(ANA).execute(&mut *reset).await.unwrap();
    // The log-in verifies the old password, and then waits for the reset.
    let committing = async {
        locks_are_awaited(pool, 1).await;
        reset.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(provider.log_in(ANA, PASSWORD), committing);
    refused.expect_problem(401, "invalid_credentials");
    assert_eq!((provider.count("sessions").await, provider.count("refresh_tokens").await), (0, 0));
}

#[tokio::test]
async fn concurrent_resets_of_one_address_leave_one_code() {
    let mut provider = Provider::with_ana().await;
    let (one, two) = tokio::join!(provider.forget_password(ANA), provider.forget_password(ANA));
    one.expect(202);
    two.expect(202);
    let codes: Vec<String> =
        provider.mails(ANA, 2).await.iter().map(|mail| code_in(mail)).collect();
    assert_eq!(provider.count("codes").await, 1);
    let mut statuses = Vec::new();
    for code in &codes {
        statuses.push(provider.reset_password(ANA, code, "another sentence").await.status.as_u16());
    }
    statuses.sort_unstable();
    // Codes are random: two may be the same.
    assert!(statuses == [204, 422] || codes[0] == codes[1], "{statuses:?}");
}
