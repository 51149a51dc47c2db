//! THE RULES of sessions: a log-in begins one, and a chain of refresh tokens carries it on, each
//! good for one exchange.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use shared::config::Secret;
use uuid::Uuid;

/// How long a refresh token is good.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(30);

/// A new refresh token.
#[derive(Clone, Debug)]
pub(crate) struct NewToken {
    pub token: Secret<String>,
    pub hash: [u8; 32],
    pub issued_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A refresh token that could not be exchanged, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredToken {
    pub session_id: Uuid,
    pub rotated_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is unknown, expired, or of a session that has ended: nothing is left to be done.
    Dead,
    /// It was exchanged before, and its session goes on. One of the two who used it is a thief, and
    /// nobody can tell which: the session must end.
    Reused { session_id: Uuid },
}

/// The token that 256 random bits make.
pub(crate) fn new_token(random: [u8; 32], now: DateTime<Utc>) -> NewToken {
    let token = URL_SAFE_NO_PAD.encode(random);
    NewToken {
        hash: hash(&token),
        token: Secret::new(token),
        issued_at: now,
        expires_at: now + LIFETIME,
    }
}

/// What is stored of a token: so random a text needs no salt and no slow hash.
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
        StoredToken { session_id: Uuid::max(), rotated_at: at(rotated), revoked_at: at(revoked) }
    }

    #[test]
    fn a_token_that_comes_back_after_its_exchange_ends_the_session() {
        let session_id = Uuid::max();
        assert_eq!(refuse(Some(stored(true, false))), Refusal::Reused { session_id });
    }

    #[test]
    fn an_unknown_an_expired_and_a_revoked_token_end_nothing() {
        assert_eq!(refuse(None), Refusal::Dead);
        // neither rotated nor revoked, and yet not exchanged: it has expired
        assert_eq!(refuse(Some(stored(false, false))), Refusal::Dead);
        assert_eq!(refuse(Some(stored(true, true))), Refusal::Dead);
        assert_eq!(refuse(Some(stored(false, true))), Refusal::Dead);
    }

    #[test]
    fn a_token_carries_all_256_bits_and_is_stored_as_its_hash() {
        let token = new_token([0xff; 32], DateTime::UNIX_EPOCH);
        assert_eq!(token.token.expose().len(), 43);
        assert_ne!(token.hash, [0xff; 32]);
        assert_eq!(token.hash, hash(token.token.expose()));
        assert_eq!(token.expires_at, DateTime::UNIX_EPOCH + TimeDelta::days(30));
    }
}
