//! The key that signs access tokens, and the tokens.
//!
//! Promise: the private key never leaves its file and this process. Verifiers need only the key set.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm,
    OctetKeyPairParameters, OctetKeyPairType, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use shared::http::auth::Role;
use shared::id::{Ids, UserId};
use uuid::Uuid;

/// How long an access token is valid, and so how long it outlives a session that was ended.
pub(crate) const ACCESS_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// Permission bits of group and others. The key file must have none of them: owner only.
const NOT_OWNER: u32 = 0o077;

/// Why the signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("reading the signing key {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("creating the signing key {}", .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "other users can access the signing key {path} (mode {mode:04o}): run `chmod 600 {path}`, or \
         delete it if it may have leaked, and a new one is created at the next start",
        path = .path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "the signing key {} is not an Ed25519 key in PKCS#8: delete it, and a new one is created at \
         the next start",
        .path.display()
    )]
    Broken { path: PathBuf },
    #[error("generating a signing key")]
    Generate,
    #[error("computing the thumbprint of the signing key")]
    Describe(#[source] jsonwebtoken::errors::Error),
}

/// An Ed25519 key with its public half. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    private: EncodingKey,
    public: Jwk,
    kid: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads the key, or creates the file with a new one. Processes that start at the same moment get
    /// the same key.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        if let Some(key) = Self::find(path)? {
            return Ok(key);
        }
        create(path)?;
        Self::find(path)?.ok_or_else(|| KeyError::Read {
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Reads the key, if the file exists.
    pub fn find(path: &Path) -> Result<Option<Self>, KeyError> {
        let read = |source| KeyError::Read { path: path.to_owned(), source };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        // Taken from the open file: the path could point to another one by now.
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o7777;
        if mode & NOT_OWNER != 0 {
            let path = path.to_owned();
            return Err(KeyError::Exposed { path, mode });
        }
        let mut pkcs8 = Vec::new();
        file.read_to_end(&mut pkcs8).map_err(read)?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|_| KeyError::Broken { path: path.to_owned() })?;
        Self::new(&pkcs8, pair.public_key().as_ref()).map(Some)
    }

    fn new(pkcs8: &[u8], public: &[u8]) -> Result<Self, KeyError> {
        let mut jwk = Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::EdDSA),
                ..CommonParameters::default()
            },
            algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(public),
            }),
        };
        // RFC 7638: different keys have different names.
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(KeyError::Describe)?;
        jwk.common.key_id = Some(kid.clone());
        Ok(Self(Arc::new(Inner { private: EncodingKey::from_ed_der(pkcs8), public: jwk, kid })))
    }
}

/// Writes a new key to a temporary file, and gives it its name only once it is complete on disk. A
/// file that exists by then stays: another process created it, and may have signed with it.
fn create(path: &Path) -> Result<(), KeyError> {
    let create = |source| KeyError::Create { path: path.to_owned(), source };
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generate)?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| KeyError::Generate)?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Opened with O_EXCL and mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(create)?;
    file.write_all(pkcs8.as_ref()).map_err(create)?;
    file.as_file().sync_all().map_err(create)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(create(error.error)),
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(create)
}

/// Issues access tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Issuer {
    key: SigningKey,
    address: Arc<str>,
    audience: Arc<str>,
    ids: Ids,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: UserId,
    iat: i64,
    exp: i64,
    jti: Uuid,
    roles: &'a BTreeSet<Role>,
}

impl Issuer {
    /// `address` and `audience` become the claims `iss` and `aud`.
    pub fn new(key: SigningKey, address: &str, audience: &str, ids: Ids) -> Self {
        Self { key, address: address.into(), audience: audience.into(), ids }
    }

    /// The public keys, for verifiers.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: vec![self.key.0.public.clone()] }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Issues an access token that is valid for `ACCESS_LIFETIME` from `now`.
    pub fn issue(
        &self,
        subject: UserId,
        roles: &BTreeSet<Role>,
        now: DateTime<Utc>,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key.0.kid.clone());
        let claims = Claims {
            iss: &self.address,
            aud: &self.audience,
            sub: subject,
            iat: now.timestamp(),
            exp: (now + ACCESS_LIFETIME).timestamp(),
            jti: self.ids.next(now),
            roles,
        };
        jsonwebtoken::encode(&header, &claims, &self.key.0.private)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use shared::clock::Clock;
    use shared::http::auth::{AuthConfig, KeySource, Verifier};

    use super::*;

    const ISSUER: &str = "http://localhost:8080";

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn issuer(path: &Path) -> Issuer {
        let key = SigningKey::load_or_create(path).unwrap();
        Issuer::new(key, ISSUER, "vitrina", Ids::seeded(1))
    }

    fn verifier(keys: JwkSet, audience: &str, clock: &Clock) -> Verifier {
        let config = AuthConfig {
            issuer: ISSUER.to_owned(),
            audience: audience.to_owned(),
            keys: KeySource::Fixed(keys),
            roles_claim: "roles".to_owned(),
        };
        Verifier::new(config, clock.clone())
    }

    #[test]
    fn token_has_exactly_these_claims() {
        let folder = directory();
        let issuer = issuer(&folder.path().join("key"));
        let (subject, now) = (UserId::from_u128(7), DateTime::UNIX_EPOCH + ACCESS_LIFETIME * 99);
        let roles = BTreeSet::from([Role::Operator, Role::Seller]);
        let token = issuer.issue(subject, &roles, now).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&issuer.jwks().keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.set_audience(&["vitrina"]);
        let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
        let at = now.timestamp();
        assert_eq!(
            decoded.claims,
            serde_json::json!({
                "iss": ISSUER, "aud": "vitrina", "sub": subject, "roles": roles,
                // In seconds.
                "iat": at, "exp": at + ACCESS_LIFETIME.num_seconds(),
                "jti": Ids::seeded(1).next::<Uuid>(now),
            })
        );
    }

    #[test]
    fn new_key_file_is_private_and_is_read_again() {
        let directory = directory();
        let path = directory.path().join("key");
        let first = issuer(&path).jwks();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(issuer(&path).jwks(), first);
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1, "a temporary file is left");
    }

    #[test]
    fn key_readable_by_others_is_refused_with_the_remedy() {
        let directory = directory();
        let path = directory.path().join("key");
        issuer(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640"), "{error}");
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
    }

    #[test]
    fn key_of_any_mode_but_its_owners_is_refused() {
        let directory = directory();
        let path = directory.path().join("key");
        let key = issuer(&path).jwks();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for bit in [0o010, 0o020, 0o040, 0o001, 0o002, 0o004] {
            set(0o600 | bit);
            match SigningKey::load_or_create(&path) {
                Err(KeyError::Exposed { mode, .. }) => assert_eq!(mode, 0o600 | bit),
                other => panic!("{bit:o}: {other:?}"),
            }
        }
        for mode in [0o600, 0o400, 0o700] {
            set(mode);
            assert_eq!(issuer(&path).jwks(), key, "{mode:o}");
        }
    }

    #[test]
    fn invalid_key_file_is_refused_and_left_alone() {
        let directory = directory();
        let path = directory.path().join("key");
        fs::write(&path, "not a key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = SigningKey::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyError::Broken { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn processes_started_together_share_one_key() {
        let directory = directory();
        let path = directory.path().join("key");
        let sets: Vec<JwkSet> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| issuer(&path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().jwks()).collect()
        });
        assert!(sets.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn key_set_has_no_private_part() {
        let directory = directory();
        let set = serde_json::to_value(issuer(&directory.path().join("key")).jwks()).unwrap();
        let key = set["keys"][0].as_object().unwrap();
        let mut members: Vec<&str> = key.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
        assert_eq!(key["kty"], "OKP");
        assert_eq!(key["kid"].as_str().unwrap().len(), 43);
    }

    #[tokio::test]
    async fn issued_token_is_accepted_until_it_expires() {
        let directory = directory();
        let issuer = issuer(&directory.path().join("key"));
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let verifier = verifier(issuer.jwks(), "vitrina", &clock);
        let roles = BTreeSet::from([Role::Seller]);
        let token = issuer.issue(UserId::from_u128(7), &roles, clock.now()).unwrap();
        let identity = verifier.verify(&token).await.unwrap();
        assert_eq!((identity.subject, identity.roles), (UserId::from_u128(7), roles));
        clock.advance(ACCESS_LIFETIME.to_std().unwrap());
        assert!(verifier.verify(&token).await.is_err());
    }

    #[tokio::test]
    async fn other_key_or_audience_is_refused() {
        let directory = directory();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let [ours, theirs] = ["ours", "theirs"].map(|name| issuer(&directory.path().join(name)));
        let token = ours.issue(UserId::from_u128(7), &BTreeSet::new(), clock.now()).unwrap();
        let another_key = verifier(theirs.jwks(), "vitrina", &clock);
        let another_audience = verifier(ours.jwks(), "elsewhere", &clock);
        assert!(another_key.verify(&token).await.is_err());
        assert!(another_audience.verify(&token).await.is_err());
    }
}
