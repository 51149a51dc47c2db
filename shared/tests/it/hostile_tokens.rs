//! The verifier against well-formed tokens and key sets of a client or issuer that means harm.

use std::collections::BTreeSet;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
use shared::id::UserId;
use testkit::Tokens;
use utoipa::PartialSchema as _;

const SUBJECT: UserId = UserId::from_u128(7);

fn clock() -> Clock {
    Clock::fixed("2026-03-01T12:00:00Z".parse().unwrap())
}

#[test]
fn list_of_roles_has_every_role_of_the_api() {
    let described = serde_json::to_value(Role::schema()).unwrap();
    assert_eq!(described["enum"], json!(Role::ALL));
    assert_eq!(described["enum"], json!(Role::ALL.map(Role::as_str)));
    let distinct: BTreeSet<Role> = Role::ALL.into();
    assert_eq!(distinct.len(), Role::ALL.len());
}

#[tokio::test]
async fn every_hostile_token_is_refused() {
    let tokens = Tokens::new(clock());
    let verifier = tokens.verifier();
    let good = tokens.with_claims(json!({"sub": SUBJECT, "roles": Role::ALL}));
    // Before and after a valid token of the subject is in the cache.
    for _ in 0..2 {
        for (what, token) in tokens.hostile(SUBJECT, &Role::ALL) {
            let refused = verifier.verify(&token).await;
            let code = refused.map(|identity| format!("{identity:?}")).map_err(|no| no.kind.code);
            assert_eq!(code, Err("unauthenticated"), "{what}");
        }
        let identity = verifier.verify(&good).await.unwrap();
        assert_eq!((identity.subject, identity.roles), (SUBJECT, Role::ALL.into()));
    }
}

#[tokio::test]
async fn token_has_exactly_the_roles_that_it_names() {
    let tokens = Tokens::new(clock());
    let verifier = tokens.verifier();
    let named = async |roles: Value| {
        let token = tokens.with_claims(json!({"sub": SUBJECT, "roles": roles}));
        verifier.verify(&token).await.unwrap().roles
    };
    for role in Role::ALL {
        assert_eq!(named(json!([role])).await, [role].into(), "{role:?}");
        for other in Role::ALL {
            let unknown = json!([role, "admin", 7, null, other, role]);
            assert_eq!(named(unknown).await, [role, other].into(), "{role:?} and {other:?}");
        }
        for (what, token) in tokens.without_role(SUBJECT, role) {
            let identity = verifier.verify(&token).await.unwrap();
            assert!(!identity.roles.contains(&role), "{what}: {:?}", identity.roles);
        }
    }
}

#[tokio::test]
async fn subject_that_is_no_uuid_is_one_user_of_its_issuer() {
    let tokens = Tokens::new(clock());
    let subject = async |sub: &str, issuer: &str| {
        let config = AuthConfig { issuer: issuer.to_owned(), ..tokens.config() };
        let token = tokens.with_claims(json!({"sub": sub, "iss": issuer}));
        Verifier::new(config, clock()).verify(&token).await.unwrap().subject
    };
    let ana = subject("auth0|ana", "https://one.example").await;
    assert_eq!(ana, subject("auth0|ana", "https://one.example").await);
    assert_ne!(ana, subject("auth0|ana", "https://two.example").await);
    assert_ne!(ana, subject("auth0|eve", "https://one.example").await);
    let uuid = UserId::from_u128(7).to_string();
    assert_eq!(subject(&uuid, "https://one.example").await, UserId::from_u128(7));
}

/// A token signed with a secret, as `alg` HS256.
fn symmetric(secret: &[u8], kid: &str) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    let claims = json!({
        "iss": "https://identity.test", "aud": "vitrina", "sub": SUBJECT,
        "exp": clock().now().timestamp() + 3600, "roles": Role::ALL,
    });
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
}

#[tokio::test]
async fn key_of_no_known_kind_in_the_set_verifies_nothing() {
    let tokens = Tokens::new(clock());
    let good = tokens.with_claims(json!({"sub": SUBJECT, "roles": Role::ALL}));
    let own = serde_json::to_value(&tokens.keys().keys[0]).unwrap();
    let secret = b"a secret of thirty-two characters";
    let k = URL_SAFE_NO_PAD.encode(secret);
    // A private key by mistake in the set of another issuer: only its public half may count.
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let other = EncodingKey::from_ed_der(der.as_ref());
    let header = Header { kid: Some("other".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let of_other = jsonwebtoken::encode(&header, &json!({"sub": SUBJECT}), &other).unwrap();
    for (what, key) in [
        ("a secret", json!({"kty": "oct", "kid": "other", "alg": "HS256", "k": k})),
        (
            "a curve of another size",
            json!({
            "kty": "EC", "crv": "P-384", "kid": "other", "alg": "ES384", "x": k, "y": k}),
        ),
        (
            "a point off the curve",
            json!({
            "kty": "EC", "crv": "P-256", "kid": "other", "alg": "ES256", "x": k, "y": k}),
        ),
        (
            "an Ed25519 key that is too short",
            json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "other", "alg": "EdDSA", "x": "AAAA"}),
        ),
        (
            "an RSA key without strength",
            json!({
            "kty": "RSA", "kid": "other", "alg": "RS256", "n": "AQ", "e": "AQ"}),
        ),
    ] {
        for keys in [vec![key.clone(), own.clone()], vec![own.clone(), key.clone()]] {
            let set: JwkSet = serde_json::from_value(json!({"keys": keys})).unwrap();
            let config = AuthConfig { keys: KeySource::Fixed(set), ..tokens.config() };
            let verifier = Verifier::new(config, clock());
            for token in [symmetric(secret, "other"), symmetric(b"", "other"), of_other.clone()] {
                let refused = verifier.verify(&token).await.unwrap_err();
                assert_eq!(refused.kind.code, "unauthenticated", "{what}");
            }
            // The valid key of the same set still works.
            verifier.verify(&good).await.unwrap();
        }
    }
}
