//! The identity that local commands use.

use serde_json::json;

use crate::TestEdition;

impl TestEdition {
    /// Status of a log-in as the operator.
    async fn log_in(&self, password: &str) -> u16 {
        let login = json!({"email": "operator@demo.vitrina.example", "password": password});
        let url = format!("{}/v1/auth/login", self.running.url);
        let response = reqwest::Client::new().post(url).json(&login).send().await.unwrap();
        response.status().as_u16()
    }

    /// Status of an admin request with a token from `vitrina token operator`.
    async fn admin_request(&self) -> u16 {
        let token = self.run(&["token", "operator"]).await.expect(0).stdout;
        let url = format!("{}/v1/admin/outbox", self.running.url);
        let request = reqwest::Client::new().get(url).bearer_auth(token.trim());
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_while_the_operators_log_in_is_rate_limited() {
    let edition = TestEdition::start().await;
    for _ in 0..10 {
        assert_eq!(edition.log_in("a wrong password").await, 401);
    }
    let password = std::fs::read_to_string(edition.data.path().join("demo-password")).unwrap();
    assert_eq!(edition.log_in(&password).await, 429);

    edition.run(&["status"]).await.expect(0);
    edition.run(&["dlq", "list"]).await.expect(0);
    edition.run(&["sync"]).await.expect(0);
    assert_eq!(edition.admin_request().await, 200);
    edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_without_identity_but_new_sellers_fail() {
    let edition =
        TestEdition::start_with("inventory,relay,catalog,projector,sync".parse().unwrap()).await;
    assert_eq!(edition.log_in("any password").await, 404);
    edition.run(&["status"]).await.expect(0);
    edition.run(&["seed", "--products", "20"]).await.expect(0);
    edition.catalogue(20).await;
    let result = edition.run(&["seed", "--products", "20", "--sellers", "2"]).await.expect(1);
    assert!(result.stderr.contains("does not run `identity`"), "{result:#?}");
    edition.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_fails_and_creates_no_key_if_the_key_is_missing() {
    let edition = TestEdition::start().await;
    let key = edition.data.path().join("identity.pk8");
    std::fs::remove_file(&key).unwrap();
    let result = edition.run(&["token", "operator"]).await.expect(1);
    assert!(result.stderr.contains("there is no signing key"), "{result:#?}");
    assert!(!key.exists());
    edition.stop().await;
}
