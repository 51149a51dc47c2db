use serde_json::json;

use crate::support::Provider;

#[tokio::test]
async fn key_set_is_that_of_the_issuer_and_cacheable() {
    let provider = Provider::start().await;
    let keys = provider.get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    let expected = serde_json::to_value(provider.app.issuer.jwks()).unwrap();
    assert_eq!(keys.json, expected);
}

#[tokio::test]
async fn key_set_has_the_public_half_of_one_key() {
    let provider = Provider::start().await;
    let keys = provider.get("/.well-known/jwks.json").await.expect(200);
    let key = &keys.json["keys"][0];
    let expected = json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
        "kid": key["kid"].as_str().unwrap(), "x": key["x"].as_str().unwrap(),
    });
    assert_eq!(keys.json, json!({"keys": [expected]}));
}
