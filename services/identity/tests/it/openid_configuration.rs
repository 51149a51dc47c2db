use serde_json::json;

use crate::support::{ISSUER, Provider};

#[tokio::test]
async fn configuration_names_the_issuer_and_its_key_set() {
    let provider = Provider::start().await;
    let response = provider.get("/.well-known/openid-configuration").await.expect(200);
    let jwks_uri = format!("{ISSUER}/.well-known/jwks.json");
    assert_eq!(response.json, json!({"issuer": ISSUER, "jwks_uri": jwks_uri}));
    assert_eq!(response.header("cache-control"), "public, max-age=300");
}
