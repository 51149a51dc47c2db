//! The rules of sessions: a log-in starts one, and a chain of refresh tokens continues it. Each
//! token is valid for one exchange.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use shared::config::Secret;
use shared::id::SessionId;

/// How long a refresh token is valid.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(30);

/// A new refresh token.
#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub token: Secret<String>,
    pub hash: [u8; 32],
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A stored refresh token that could not be exchanged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredToken {
    pub session_id: SessionId,
    pub rotated_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is unknown or expired, or its session has ended. Nothing has to be done.
    Dead,
    /// It was exchanged before, and its session goes on. One of the two clients stole it, and it is
    /// unknown which: the session must end.
    Reused { session_id: SessionId },
}

/// Makes a token of 256 random bits.
pub(crate) fn new_token(random: [u8; 32], now: DateTime<Utc>) -> NewToken {
    let token = URL_SAFE_NO_PAD.encode(random);
    NewToken {
        hash: hash(&token),
        token: Secret::new(token),
        issued_at: now,
        expires_at: now + LIFETIME,
    }
}

/// The stored form of a token. A random text of this length needs no salt and no slow hash.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Why a token was not exchanged.
pub(crate) fn refuse(stored: Option<StoredToken>) -> Refusal {
    match stored {
        Some(StoredToken { session_id, rotated_at: Some(_), revoked_at: None }) => {
            Refusal::Reused { session_id }
        }
        _ => Refusal::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(rotated: bool, revoked: bool) -> StoredToken {
        let at = |happened: bool| happened.then_some(DateTime::UNIX_EPOCH);
        StoredToken {
            session_id: SessionId::from_u128(7),
            rotated_at: at(rotated),
            revoked_at: at(revoked),
        }
    }

    #[test]
    fn reused_token_ends_the_session() {
        let session_id = SessionId::from_u128(7);
        assert_eq!(refuse(Some(stored(true, false))), Refusal::Reused { session_id });
    }

    #[test]
    fn unknown_expired_or_revoked_token_ends_nothing() {
        assert_eq!(refuse(None), Refusal::Dead);
        // Neither rotated nor revoked, and yet not exchanged: it has expired.
        assert_eq!(refuse(Some(stored(false, false))), Refusal::Dead);
        assert_eq!(refuse(Some(stored(true, true))), Refusal::Dead);
        assert_eq!(refuse(Some(stored(false, true))), Refusal::Dead);
    }

    #[test]
    fn token_has_256_bits_and_is_stored_as_its_hash() {
        let token = new_token([0xff; 32], DateTime::UNIX_EPOCH);
        assert_eq!(token.token.expose().len(), 43);
        assert_ne!(token.hash, [0xff; 32]);
        assert_eq!(token.hash, hash(token.token.expose()));
        assert_eq!(token.expires_at, DateTime::UNIX_EPOCH + TimeDelta::days(30));
    }
}
