//! The rules of mailed codes: six digits, valid for 15 minutes and for five attempts.
//!
//! A million codes could be guessed, so attempts are limited: per code here, and per address in
//! [`crate::attempts`], because a new code would bring new attempts.

use aws_lc_rs::constant_time;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use shared::id::UserId;

use crate::account::Email;

/// How long a code is valid.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// Attempts allowed per code.
pub(crate) const MAX_ATTEMPTS: i32 = 5;

/// What a code is for. A code for one purpose is not valid for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Activation,
    Reset,
}

impl Purpose {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Reset => "reset",
        }
    }
}

/// A stored code.
#[derive(Clone, Debug)]
pub(crate) struct StoredCode {
    pub user_id: UserId,
    pub hash: Vec<u8>,
    /// Attempts so far, including the present one.
    pub attempts: i32,
    pub expires_at: DateTime<Utc>,
}

/// The code for `random`. The bias of the remainder is below one part in 10^13, because 2^64 is so
/// much larger than a million.
pub(crate) fn from_random(random: [u8; 8]) -> String {
    format!("{:06}", u64::from_be_bytes(random) % 1_000_000)
}

/// The stored form of a code. It only keeps the code out of plain sight: a reader of the table can
/// hash all million codes before one expires.
pub(crate) fn hash(purpose: Purpose, email: &Email, code: &str) -> [u8; 32] {
    let parts = [purpose.as_str(), email.as_str(), code];
    Sha256::digest(parts.join("\0").as_bytes()).into()
}

/// Whether `sent` is the mailed code and still valid.
pub(crate) fn is_right(
    stored: &StoredCode,
    purpose: Purpose,
    email: &Email,
    sent: &str,
    now: DateTime<Utc>,
) -> bool {
    let hash = hash(purpose, email, sent);
    let same = constant_time::verify_slices_are_equal(&hash, &stored.hash).is_ok();
    same && stored.attempts <= MAX_ATTEMPTS && now < stored.expires_at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> Email {
        Email::parse("ana@example.com").unwrap()
    }

    fn stored(attempts: i32) -> StoredCode {
        StoredCode {
            user_id: UserId::nil(),
            hash: hash(Purpose::Activation, &email(), "012345").to_vec(),
            attempts,
            expires_at: DateTime::UNIX_EPOCH + LIFETIME,
        }
    }

    fn right(stored: &StoredCode, sent: &str, now: DateTime<Utc>) -> bool {
        is_right(stored, Purpose::Activation, &email(), sent, now)
    }

    #[test]
    fn code_has_six_digits_with_leading_zeros() {
        assert_eq!(from_random([0; 8]), "000000");
        assert_eq!(from_random(1_000_042_u64.to_be_bytes()), "000042");
        assert_eq!(from_random([255; 8]).len(), 6);
    }

    #[test]
    fn only_the_exact_code_is_right() {
        let now = DateTime::UNIX_EPOCH;
        assert!(right(&stored(1), "012345", now));
        for wrong in ["012346", "12345", "", " 012345", "012345\0"] {
            assert!(!right(&stored(1), wrong, now), "{wrong:?}");
        }
    }

    #[test]
    fn sixth_attempt_fails_even_with_the_right_code() {
        assert!(right(&stored(5), "012345", DateTime::UNIX_EPOCH));
        assert!(!right(&stored(6), "012345", DateTime::UNIX_EPOCH));
    }

    #[test]
    fn code_expires_after_fifteen_minutes() {
        let last = DateTime::UNIX_EPOCH + LIFETIME - TimeDelta::microseconds(1);
        assert!(right(&stored(1), "012345", last));
        assert!(!right(&stored(1), "012345", last + TimeDelta::microseconds(1)));
    }

    #[test]
    fn code_is_valid_for_one_purpose_and_one_address() {
        let now = DateTime::UNIX_EPOCH;
        let other = Email::parse("eve@example.com").unwrap();
        assert!(!is_right(&stored(1), Purpose::Reset, &email(), "012345", now));
        assert!(!is_right(&stored(1), Purpose::Activation, &other, "012345", now));
    }
}
