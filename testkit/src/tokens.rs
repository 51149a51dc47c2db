//! Bearer tokens of a test-only issuer.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use shared::clock::Clock;
use shared::http::auth::{AuthConfig, KeySource, Role, Verifier};
use shared::id::UserId;

use crate::serve;

const ISSUER: &str = "https://identity.test";
const AUDIENCE: &str = "vitrina";

/// Issues tokens that [`Tokens::verifier`] accepts.
#[derive(Clone)]
pub struct Tokens {
    key: EncodingKey,
    pub(crate) pair: Arc<Ed25519KeyPair>,
    keys: JwkSet,
    pub(crate) kid: String,
    pub(crate) issuer: String,
    pub(crate) clock: Clock,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub fn new(clock: Clock) -> Self {
        Self::with_key("test", clock)
    }

    /// Signs with a new key that has the id `kid`.
    pub fn with_key(kid: &str, clock: Clock) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let keys = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}
        ]});
        Self {
            key: EncodingKey::from_ed_der(der.as_ref()),
            pair: Arc::new(pair),
            keys: serde_json::from_value(keys).unwrap(),
            kid: kid.to_owned(),
            issuer: ISSUER.to_owned(),
            clock,
        }
    }

    /// Signs as another issuer, with its private key and the key set that it publishes.
    pub fn of_issuer(issuer: &str, pkcs8: &[u8], keys: JwkSet, clock: Clock) -> Self {
        Self {
            key: EncodingKey::from_ed_der(pkcs8),
            pair: Arc::new(Ed25519KeyPair::from_pkcs8(pkcs8).unwrap()),
            kid: keys.keys[0].common.key_id.clone().unwrap(),
            keys,
            issuer: issuer.to_owned(),
            clock,
        }
    }

    /// Settings with which a program accepts the tokens. It fetches the key set from this process.
    pub async fn settings(&self) -> [(&'static str, String); 2] {
        let keys = axum::Json(self.keys.clone());
        let router = axum::Router::new().fallback(move || std::future::ready(keys.clone()));
        let url = serve(router).await + "/jwks.json";
        [("VITRINA_AUTH_ISSUER", self.issuer.clone()), ("VITRINA_AUTH_JWKS_URL", url)]
    }

    /// The public key set, as the issuer publishes it.
    pub fn keys(&self) -> &JwkSet {
        &self.keys
    }

    /// The configuration of a verifier that accepts the tokens.
    pub fn config(&self) -> AuthConfig {
        AuthConfig {
            issuer: self.issuer.clone(),
            audience: AUDIENCE.to_owned(),
            keys: KeySource::Fixed(self.keys.clone()),
            roles_claim: "roles".to_owned(),
        }
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.config(), self.clock.clone())
    }

    /// A token that is valid for an hour.
    pub fn token(&self, subject: UserId, role: Role) -> String {
        self.with_claims(json!({"sub": subject, "roles": [role.as_str()]}))
    }

    /// A token with these claims added to the usual ones or in their place, to test refusals.
    pub fn with_claims(&self, claims: serde_json::Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &self.claims(claims), &self.key).unwrap()
    }

    /// As [`Self::with_claims`], but the header names no key.
    pub fn without_key_id(&self, claims: serde_json::Value) -> String {
        let header = Header::new(Algorithm::EdDSA);
        jsonwebtoken::encode(&header, &self.claims(claims), &self.key).unwrap()
    }

    /// The subject that a token names.
    pub fn subject(token: &str) -> UserId {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        claims["sub"].as_str().unwrap().parse().unwrap()
    }

    /// The usual claims, with these added or in their place.
    pub(crate) fn claims(&self, own: serde_json::Value) -> serde_json::Value {
        let exp = self.clock.now().timestamp() + 3600;
        let mut all = json!({"iss": self.issuer, "aud": AUDIENCE, "exp": exp});
        if let (Some(all), serde_json::Value::Object(own)) = (all.as_object_mut(), own) {
            all.extend(own);
        }
        all
    }
}
