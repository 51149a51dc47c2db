//! Bodies that several endpoints refuse alike.

use serde_json::json;

use crate::support::{PASSWORD, Provider, ResponseExt as _, signup};

#[tokio::test]
async fn invalid_address_is_refused_by_every_endpoint() {
    let provider = Provider::start().await;
    let fault = json!({
        "pointer": "/email", "code": "invalid",
        "detail": "must be an email address such as ana@example.com",
    });
    for (path, body) in [
        ("/v1/auth/signup", signup("ana", PASSWORD)),
        ("/v1/auth/activate", json!({"email": "ana", "code": "123456"})),
        ("/v1/auth/login", json!({"email": "ana", "password": PASSWORD})),
        ("/v1/auth/password/forgot", json!({"email": "ana"})),
        (
            "/v1/auth/password/reset",
            json!({"email": "ana", "code": "123456", "password": PASSWORD}),
        ),
    ] {
        let refused = provider.post(path, body).await.expect_problem(422, "invalid_request");
        assert_eq!(refused.json["errors"], json!([fault]), "{path}");
    }
}

#[tokio::test]
async fn missing_member_is_refused_by_every_endpoint() {
    let provider = Provider::start().await;
    for path in ["signup", "activate", "login", "refresh", "logout"] {
        let refused = provider.post(&format!("/v1/auth/{path}"), json!({})).await;
        refused.expect_problem(422, "invalid_request");
    }
    for path in ["forgot", "reset"] {
        let refused = provider.post(&format!("/v1/auth/password/{path}"), json!({})).await;
        refused.expect_problem(422, "invalid_request");
    }
}
