use identity::App;
use identity::keys::{Issuer, SigningKey};
use serde_json::json;
use shared::id::Ids;

use crate::support::{ISSUER, Provider};

#[tokio::test]
async fn configuration_names_the_issuer_and_its_key_set() {
    let provider = Provider::start().await;
    let response = provider.get("/.well-known/openid-configuration").await.expect(200);
    let jwks_uri = format!("{ISSUER}/.well-known/jwks.json");
    assert_eq!(response.json, json!({"issuer": ISSUER, "jwks_uri": jwks_uri}));
    assert_eq!(response.header("cache-control"), "public, max-age=300");
}

#[tokio::test]
async fn issuer_with_a_slash_has_one_slash_before_its_key_set() {
    let provider = Provider::start().await;
    let address = format!("{ISSUER}/");
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::load_or_create(&folder.path().join("key")).unwrap();
    let issuer = Issuer::new(key, &address, "vitrina", Ids::seeded(1));
    let app = App { issuer, ..provider.app.clone() };
    let provider = provider.with_app(app);
    let response = provider.get("/.well-known/openid-configuration").await.expect(200);
    let jwks_uri = format!("{ISSUER}/.well-known/jwks.json");
    assert_eq!(response.json, json!({"issuer": address, "jwks_uri": jwks_uri}));
}
