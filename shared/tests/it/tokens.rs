//! Tokens of other providers: the roles and the audience in tokens of Cognito.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::http::auth::{AuthConfig, Role, Verifier};
use shared::id::UserId;
use testkit::Tokens;

/// The roles of a token with these claims; `None` if it is refused.
async fn roles(claims: Value) -> Option<BTreeSet<Role>> {
    let tokens = Tokens::new(Clock::System);
    let config = AuthConfig { roles_claim: "cognito:groups".to_owned(), ..tokens.config() };
    let mut all = json!({"sub": "4cc72cf7-2d50-4a4c-8a56-0a1d4d9d0a15"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let token = tokens.with_claims(all);
    let verified = Verifier::new(config, Clock::System).verify(&token).await;
    verified.ok().map(|identity| identity.roles)
}

#[tokio::test]
async fn groups_of_a_cognito_token_are_its_roles() {
    let groups = json!(["seller", "operator", "us-east-1_abc_Google"]);
    let id = json!({"token_use": "id", "aud": "vitrina", "cognito:groups": groups});
    assert_eq!(roles(id).await, Some(BTreeSet::from([Role::Seller, Role::Operator])));
    let without_groups = json!({"token_use": "id", "aud": "vitrina", "roles": ["operator"]});
    assert_eq!(roles(without_groups).await, Some(BTreeSet::new()), "another claim gives no roles");
}

#[tokio::test]
async fn access_token_without_audience_is_for_its_client() {
    let access = |client: &str, purpose: Value| json!({"aud": null, "client_id": client, "token_use": purpose});
    assert!(roles(access("vitrina", json!("access"))).await.is_some());
    assert!(roles(access("another app", json!("access"))).await.is_none());
    assert!(roles(access("vitrina", json!("refresh"))).await.is_none());
    assert!(roles(access("vitrina", json!("id"))).await.is_none(), "ID tokens have an audience");
    assert!(roles(access("vitrina", Value::Null)).await.is_none(), "every provider sets token_use");
}

#[tokio::test]
async fn token_is_for_its_audience() {
    assert!(roles(json!({"aud": ["another", "vitrina"]})).await.is_some());
    for aud in [json!("another"), json!([]), json!(["another"]), json!(5), json!("")] {
        let claims = json!({"aud": aud, "client_id": "vitrina", "token_use": "access"});
        assert!(roles(claims).await.is_none(), "{aud}");
    }
    let refresh = json!({"aud": "vitrina", "token_use": "refresh"});
    assert!(roles(refresh).await.is_none(), "a refresh token is not for the API");
}

#[tokio::test]
async fn token_is_valid_from_a_minute_before_its_beginning() {
    let clock = Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap());
    let tokens = Tokens::new(clock.clone());
    let verifier = tokens.verifier();
    let beginning = clock.now().timestamp() + 61;
    let token = tokens.with_claims(json!({"sub": UserId::nil(), "nbf": beginning}));
    assert_eq!(verifier.verify(&token).await.unwrap_err().kind.code, "unauthenticated");
    clock.advance(Duration::from_secs(1));
    verifier.verify(&token).await.unwrap();
}

#[test]
fn aws_edition_refuses_the_embedded_provider() {
    let embedded = ("VITRINA_AUTH_ISSUER", "https://identity.vitrina.local/");
    for on_aws in [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("VITRINA_EVENT_BUS", "shop")] {
        let mut settings = Settings::from_pairs([embedded, on_aws]);
        let _ = AuthConfig::read(&mut settings);
        let faults = settings.finish(()).unwrap_err().to_string();
        assert!(faults.contains("VITRINA_AUTH_ISSUER is wrong"), "{faults}");
    }
    let mut settings = Settings::from_pairs([embedded]);
    let _ = AuthConfig::read(&mut settings);
    settings.finish(()).unwrap();
}
