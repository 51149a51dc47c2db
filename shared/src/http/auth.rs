//! Who is asking: bearer tokens, verified by issuer, audience and key set from configuration, so
//! that another `OpenID` Connect provider needs no code.
//!
//! Verifying a signature costs more than the rest of a request, so a verified token is remembered
//! by its SHA-256 for at most a minute and never past its expiry. Refusals are not remembered.

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
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Settings;
use crate::http::problem::{self, Problem};
use crate::telemetry;

/// What somebody may do.
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
        [Self::Buyer, Self::Seller, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or("must be buyer, seller or operator")
    }
}

/// Somebody whose token is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub subject: Uuid,
    pub roles: BTreeSet<Role>,
    expires_at: i64,
}

/// How tokens are verified.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub issuer: String,
    pub audience: String,
    pub keys: KeySource,
    /// The claim that lists the roles: `roles` here, `cognito:groups` with Cognito.
    pub roles_claim: String,
}

/// Where the public keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    Fixed(JwkSet),
    /// Fetched when a token names a key that is not known yet, at most every ten seconds.
    Url(String),
}

/// Who issues the tokens of a local edition. Nothing on AWS takes them: the key lies on somebody's
/// disk.
pub const EMBEDDED_ISSUER: &str = "https://identity.vitrina.local";

impl AuthConfig {
    /// `VITRINA_AUTH_ISSUER`, `VITRINA_AUTH_AUDIENCE`, `VITRINA_AUTH_JWKS_URL` and
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
    verified: Cache<[u8; 32], Identity>,
    keys: Mutex<FetchedKeys>,
    http: reqwest::Client,
}

#[derive(Debug, Default)]
struct FetchedKeys {
    set: Option<JwkSet>,
    fetched_at: i64,
}

/// Keys are asked for at most this often, however many tokens name unknown ones.
const REFETCH_SECONDS: i64 = 10;
const REMEMBER: Duration = Duration::from_mins(1);
const REMEMBERED: u64 = 10_000;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(default)]
    aud: Audience,
    /// What Cognito says that a token is for; others say nothing.
    token_use: Option<String>,
    /// Whom an access token of Cognito was issued to, which has no `aud`.
    client_id: Option<String>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Whom a token is for: nobody, one or several.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Several(Vec<String>),
}

impl Claims {
    /// Whether the token is for `audience`: it says so, or it is an access token of Cognito that was
    /// issued to `audience`. A token for another use, such as one that only renews, is for nobody.
    fn is_for(&self, audience: &str) -> bool {
        let Self { aud, token_use, client_id, .. } = self;
        let named = match aud {
            Audience::Nobody => {
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
        let verified = Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBER).build();
        Self(Arc::new(Inner {
            config,
            clock,
            verified,
            keys: Mutex::default(),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(2))
                .build()
                .unwrap_or_default(),
        }))
    }

    /// Who the token says is asking.
    pub async fn verify(&self, token: &str) -> Result<Identity, Problem> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.0.clock.now().timestamp();
        if let Some(identity) = self.0.verified.get(&digest)
            && identity.expires_at > now
        {
            return Ok(identity);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| refuse())?;
        let key = self.key(header.kid.as_deref()).await?;
        // The algorithm is the key's, never the token's own choice.
        let algorithm = algorithm_of(&key).filter(|a| *a == header.alg).ok_or_else(refuse)?;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.0.config.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Some tokens have no audience, so whom they are for is judged below.
        validation.validate_aud = false;
        // Expiry is judged by our clock below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let decoding = DecodingKey::from_jwk(&key).map_err(|_| refuse())?;
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation)
            .map_err(|_| refuse())?
            .claims;
        if !claims.is_for(&self.0.config.audience) {
            return Err(refuse());
        }
        if claims.exp <= now {
            return Err(problem::UNAUTHENTICATED.because("the token has expired"));
        }
        let identity = Identity {
            subject: subject(&self.0.config.issuer, &claims.sub),
            roles: self.roles(&claims),
            expires_at: claims.exp,
        };
        self.0.verified.insert(digest, identity.clone());
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

    async fn key(&self, kid: Option<&str>) -> Result<Jwk, Problem> {
        let find = |set: &JwkSet| match kid {
            Some(kid) => set.find(kid).cloned(),
            None => set.keys.first().cloned(),
        };
        let url = match &self.0.config.keys {
            KeySource::Fixed(set) => return find(set).ok_or_else(refuse),
            KeySource::Url(url) => url,
        };
        let mut keys = self.0.keys.lock().await;
        if let Some(key) = keys.set.as_ref().and_then(find) {
            return Ok(key);
        }
        let now = self.0.clock.now().timestamp();
        if now - keys.fetched_at < REFETCH_SECONDS {
            // Whoever asked just before had no luck; nobody waits in line for the same.
            return Err(match keys.set {
                Some(_) => refuse(),
                None => Problem::unavailable("the keys of the identity provider are not known"),
            });
        }
        keys.fetched_at = now;
        let fetched = async { self.0.http.get(url).send().await?.error_for_status()?.json().await };
        let set: JwkSet = match fetched.await {
            Ok(set) => set,
            // Keys are known, and this one is not among them.
            Err(error) if keys.set.is_some() => {
                let error: reqwest::Error = error;
                let error = telemetry::causes(&error);
                tracing::warn!(error, "the keys of the identity provider could not be renewed");
                return Err(refuse());
            }
            Err(error) => return Err(Problem::unavailable(error)),
        };
        let key = find(&set);
        keys.set = Some(set);
        key.ok_or_else(refuse)
    }
}

fn refuse() -> Problem {
    problem::UNAUTHENTICATED.because("the token is not valid here")
}

/// The algorithm that a public key is for. Symmetric keys have no place in a public key set.
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

/// A subject as an id: most providers use UUIDs; of others one is made that is always the same.
fn subject(issuer: &str, sub: &str) -> Uuid {
    sub.parse().unwrap_or_else(|_| {
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{issuer}#{sub}").as_bytes())
    })
}

/// Somebody with a good token, whatever the role.
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
        // Whoever stands in front may have looked at the other one.
        return Err(refused("the header Authorization comes twice"));
    }
    match value.to_str().unwrap_or_default().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refused("a bearer token is needed")),
    }
}

async fn with_role<S>(parts: &mut Parts, state: &S, role: Role) -> Result<Uuid, Problem>
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    let Authenticated(identity) = Authenticated::from_request_parts(parts, state).await?;
    if identity.roles.contains(&role) {
        Ok(identity.subject)
    } else {
        Err(problem::FORBIDDEN.because(format!("this needs the role {}", role.as_str())))
    }
}

/// Somebody with the role seller; the id is the seller's.
#[derive(Clone, Copy, Debug)]
pub struct Seller(pub Uuid);

impl<S> FromRequestParts<S> for Seller
where
    S: Send + Sync,
    Verifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        with_role(parts, state, Role::Seller).await.map(Self)
    }
}

/// Somebody with the role operator.
#[derive(Clone, Copy, Debug)]
pub struct Operator(pub Uuid);

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
