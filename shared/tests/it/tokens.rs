//! Tokens of other providers: the roles and the audience in tokens of Cognito.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
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

/// A token with this header and the usual claims, signed by `sign`.
fn signed(header: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let claims = json!({
        "iss": "https://identity.test", "aud": "vitrina", "sub": UserId::nil(),
        "exp": 4_000_000_000_i64,
    });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The modulus in the encoding of a public RSA key with 2048 bits.
fn modulus(public: &[u8]) -> &[u8] {
    assert_eq!((public.len(), &public[265..]), (270, &[2, 3, 1, 0, 1][..]));
    &public[9..265]
}

#[tokio::test]
async fn token_is_accepted_with_the_algorithm_of_its_key_alone() {
    let random = SystemRandom::new();
    let curve = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let tokens = Tokens::new(Clock::System);
    let point = curve.public_key().as_ref();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut keys = serde_json::to_value(tokens.keys()).unwrap();
    keys["keys"].as_array_mut().unwrap().extend([
        json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]),
               "y": encode(&point[33..])}),
        json!({"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": encode(modulus(rsa.public_key().as_ref()))}),
    ]);
    let keys: JwkSet = serde_json::from_value(keys).unwrap();
    let config = AuthConfig { keys: KeySource::Fixed(keys), ..tokens.config() };
    let verifier = Verifier::new(config, Clock::System);
    let by_curve = |message: &[u8]| curve.sign(&random, message).unwrap().as_ref().to_vec();
    let by_rsa = |message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        signature
    };
    verifier.verify(&tokens.token(UserId::nil(), Role::Seller)).await.unwrap();
    for alg in ["ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "EdDSA", "HS256", "none"] {
        for kid in ["ec", "rsa", "test"] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": kid});
            let accepted = [signed(&header, by_curve), signed(&header, by_rsa)];
            let mut results = Vec::new();
            for token in &accepted {
                results.push(verifier.verify(token).await.map_err(|problem| problem.kind.code));
            }
            let accepted: Vec<bool> = results.iter().map(Result::is_ok).collect();
            let expected = [(alg, kid) == ("ES256", "ec"), (alg, kid) == ("RS256", "rsa")];
            assert_eq!(accepted, expected, "{alg} with {kid}: {results:?}");
            let refused = results.into_iter().filter_map(Result::err);
            assert!(refused.into_iter().all(|code| code == "unauthenticated"), "{alg} with {kid}");
        }
    }
}

#[tokio::test]
async fn token_without_key_id_is_verified_with_the_first_key() {
    let tokens = [Tokens::new(Clock::System), Tokens::with_key("second", Clock::System)];
    let keys = tokens.iter().flat_map(|tokens| tokens.keys().keys.clone()).collect();
    let config = AuthConfig { keys: KeySource::Fixed(JwkSet { keys }), ..tokens[0].config() };
    let verifier = Verifier::new(config, Clock::System);
    let mut accepted = Vec::new();
    for tokens in &tokens {
        let token = tokens.without_key_id(json!({"sub": UserId::nil()}));
        accepted.push(verifier.verify(&token).await.map_err(|problem| problem.kind.code).err());
        verifier.verify(&tokens.token(UserId::nil(), Role::Seller)).await.unwrap();
    }
    assert_eq!(accepted, [None, Some("unauthenticated")]);
}
