//! Authentication by bearer tokens, verified by issuer, audience and key set from configuration, so
//! that another `OpenID` Connect provider needs no code.
//!
//! Verifying a signature costs more than the rest of a request, so a verified token is cached by its
//! SHA-256: for at most a minute, never past its expiry, and never past the key set that verified it.
//! Refusals are not cached.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::{HeaderMap, header, request::Parts};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Settings;
use crate::http::key_set::KeySet;
use crate::http::problem::{self, Problem};
use crate::id::{Seller, UserId};

/// What a user may do.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Buyer,
    Seller,
    Operator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Buyer, Self::Seller, Self::Operator];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
            Self::Operator => "operator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or("must be buyer, seller or operator")
    }
}

/// The subject of a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub subject: UserId,
    pub roles: BTreeSet<Role>,
    expires_at: i64,
}

/// How tokens are verified.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub issuer: String,
    pub audience: String,
    pub keys: KeySource,
    /// The claim that lists the roles: `roles` by default, `cognito:groups` with Cognito.
    pub roles_claim: String,
}

/// Source of the public keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    Fixed(JwkSet),
    /// Fetched from this URL, again after ten minutes, and when a token names an unknown key.
    Url(String),
}

/// Issuer of the tokens of a local edition. The AWS edition refuses it, because its signing key is
/// on a developer's disk.
pub const EMBEDDED_ISSUER: &str = "https://identity.vitrina.local";

impl AuthConfig {
    /// Reads `VITRINA_AUTH_ISSUER`, `VITRINA_AUTH_AUDIENCE`, `VITRINA_AUTH_JWKS_URL` and
    /// `VITRINA_AUTH_ROLES_CLAIM`.
    pub fn read(settings: &mut Settings) -> Self {
        let issuer: String = settings.required("VITRINA_AUTH_ISSUER");
        if issuer.trim_end_matches('/') == EMBEDDED_ISSUER && is_on_aws(settings) {
            settings.fault(
                "VITRINA_AUTH_ISSUER is wrong: the embedded provider is for a local edition only",
            );
        }
        let well_known = format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'));
        Self {
            audience: settings.or("VITRINA_AUTH_AUDIENCE", "vitrina".to_owned()),
            keys: KeySource::Url(settings.or("VITRINA_AUTH_JWKS_URL", well_known)),
            roles_claim: settings.or("VITRINA_AUTH_ROLES_CLAIM", "roles".to_owned()),
            issuer,
        }
    }
}

/// Whether this is the AWS edition: a function, or a process that publishes to EventBridge.
fn is_on_aws(settings: &Settings) -> bool {
    settings.is_function() || settings.text("VITRINA_EVENT_BUS").is_some()
}

/// Verifies bearer tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: AuthConfig,
    clock: Clock,
    /// Keyed by the generation of the keys and the SHA-256 of the token. A new key set invalidates all
    /// entries, so that tokens of a withdrawn key are refused at once.
    verified: Cache<(u64, [u8; 32]), Identity>,
    keys: KeySet,
}

/// How long a verified token is cached.
const CACHED_FOR: Duration = Duration::from_mins(1);
/// Seconds by which the clock of the issuer may be ahead of ours, so that a new token that is valid from
/// its issue is not refused.
const CLOCK_SKEW: i64 = 60;
/// Verified tokens in the cache.
const CACHE_CAPACITY: u64 = 10_000;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    nbf: Option<i64>,
    #[serde(default)]
    aud: Audience,
    /// The use of a token, set by Cognito only.
    token_use: Option<String>,
    /// The client that an access token of Cognito was issued to. Such a token has no `aud`.
    client_id: Option<String>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// The audience of a token: none, one or several.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Absent,
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Whether the token is for `audience`: it names it, or it is an access token that Cognito issued to
    /// it. A token for another use, such as a refresh token, has no audience.
    fn is_for(&self, audience: &str) -> bool {
        let Self { aud, token_use, client_id, .. } = self;
        let named = match aud {
            Audience::Absent => {
                token_use.as_deref() == Some("access") && client_id.as_deref() == Some(audience)
            }
            Audience::One(one) => one == audience,
            Audience::Several(several) => several.iter().any(|one| one == audience),
        };
        named && token_use.as_deref().is_none_or(|purpose| ["access", "id"].contains(&purpose))
    }
}

impl Verifier {
    pub fn new(config: AuthConfig, clock: Clock) -> Self {
        let verified =
            Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHED_FOR).build();
        let keys = match &config.keys {
            KeySource::Fixed(set) => KeySet::fixed(set.clone()),
            KeySource::Url(url) => KeySet::at(url.clone(), clock.clone()),
        };
        Self(Arc::new(Inner { config, clock, verified, keys }))
    }

    /// Verifies a token and returns its subject.
    pub async fn verify(&self, token: &str) -> Result<Identity, Problem> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.0.clock.now().timestamp();
        let keys = self.0.keys.current().await;
        if let Some(keys) = &keys
            && let Some(identity) = self.0.verified.get(&(keys.generation, digest))
            && identity.expires_at > now
        {
            return Ok(identity);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refuse())?;
        let kid = header.kid.as_deref();
        let keys = match keys {
            Some(keys) if keys.find(kid).is_some() => keys,
            known => self.0.keys.newer_than(known).await?,
        };
        let key = keys.find(kid).ok_or_else(refuse)?;
        // The key decides the algorithm, never the token.
        let algorithm = algorithm_of(key).filter(|a| *a == header.alg).ok_or_else(refuse)?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.0.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Some tokens have no `aud`, so the audience is checked below.
        validation.validate_aud = false;
        // Times are checked below, against our clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoding = DecodingKey::from_jwk(key).map_err(|_| refuse())?;
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation)
            .map_err(|_| refuse())?
            .claims;
        if !claims.is_for(&self.0.config.audience) {
            return Err(refuse());
        }
        if claims.exp <= now {
            return Err(problem::UNAUTHENTICATED.because("the token has expired"));
        }
        if claims.nbf.is_some_and(|nbf| nbf > now + CLOCK_SKEW) {
            return Err(problem::UNAUTHENTICATED.because("the token is not valid yet"));
        }
        let identity = Identity {
            subject: subject(&self.0.config.issuer, &claims.sub),
            roles: self.roles(&claims),
            expires_at: claims.exp,
        };
        self.0.verified.insert((keys.generation, digest), identity.clone());
        Ok(identity)
    }

    fn roles(&self, claims: &Claims) -> BTreeSet<Role> {
        claims
            .other
            .get(&self.0.config.roles_claim)
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|role| role.as_str()?.parse().ok())
            .collect()
    }
}

fn refuse() -> Problem {
    problem::UNAUTHENTICATED.because("the token is not valid")
}

/// The algorithm of a public key. Symmetric keys do not belong in a public key set.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    match &key.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(_) => Some(Algorithm::EdDSA),
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        _ => None,
    }
}

/// The subject as an id. Most providers use UUIDs; other subjects are hashed into a stable one.
fn subject(issuer: &str, sub: &str) -> UserId {
    UserId::from_uuid(sub.parse().unwrap_or_else(|_| {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{issuer}#{sub}").as_bytes())
    }))
}

/// A caller with a valid token and any role.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Identity);

impl<S> FromRequestParts<S> for Authenticated
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Verifier::from_ref(state).verify(bearer(&parts.headers)?).await.map(Self)
    }
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |detail: &'static str| problem::UNAUTHENTICATED.because(detail);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refused("the header Authorization is missing"))?;
    if values.next().is_some() {
        // A proxy in front may have checked the other one.
        return Err(refused("the header Authorization appears twice"));
    }
    match value.to_str().unwrap_or_default().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refused("a bearer token is required")),
    }
}

async fn with_role<S>(parts: &mut Parts, state: &S, role: Role) -> Result<UserId, Problem>
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    let Authenticated(identity) = Authenticated::from_request_parts(parts, state).await?;
    if identity.roles.contains(&role) {
        Ok(identity.subject)
    } else {
        Err(problem::FORBIDDEN.because(format!("this requires the role {}", role.as_str())))
    }
}

/// A caller with the role seller. This is where authorisation decides whose products are the caller's.
impl<S> FromRequestParts<S> for Seller
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        with_role(parts, state, Role::Seller).await.map(Self::of_user)
    }
}

/// A caller with the role operator.
#[derive(Clone, Copy, Debug)]
pub struct Operator(pub UserId);

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        with_role(parts, state, Role::Operator).await.map(Self)
    }
}
