//! The rules of accounts: which addresses, passwords and names are accepted.

use std::fmt;
use std::net::IpAddr;

use email_address::EmailAddress;
use shared::config::Secret;
use shared::http::auth::Role;
use shared::text::{self, Lines, TextFault};

/// Longest address in bytes: the limit that a path of RFC 5321 leaves for it.
const MAX_EMAIL: usize = 254;

const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 128;
const MAX_NAME: usize = 200;

/// An email address in lower case. This form is stored, compared and used as the recipient.
///
/// Mail goes to this form and not to the text that the client sent: a host may treat `Ana` and `ana`
/// as two mailboxes, and the code for one must not arrive at the other.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "must be an email address such as ana@example.com";
        if text.len() > MAX_EMAIL {
            return Err("must be at most 254 bytes");
        }
        // Quoted local parts may hold blanks and commas, and letters beyond ASCII have lookalikes.
        // Such addresses are rare, and useful for header injection.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('"') {
            return Err(SHAPE);
        }
        let address = text.to_ascii_lowercase();
        let (local, domain) = address.rsplit_once('@').ok_or(SHAPE)?;
        let is_host = domain.contains('.')
            && !domain.starts_with('[')
            && domain.parse::<IpAddr>().is_err()
            && EmailAddress::is_valid_domain(domain);
        if !is_host || !EmailAddress::is_valid_local_part(local) {
            return Err(SHAPE);
        }
        Ok(Self(address))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    /// Addresses are personal data and must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A sign-up with valid fields only.
#[derive(Clone, Debug)]
pub(crate) struct Signup {
    pub email: Email,
    pub password: Secret<String>,
    pub name: String,
    pub role: Role,
}

/// Checks a display name: one line of visible text.
pub(crate) fn check_name(name: &str) -> Result<(), TextFault> {
    text::check(name, MAX_NAME, Lines::One)
}

/// Checks a password by its length alone: composition rules make passwords harder to remember, not
/// harder to guess (NIST SP 800-63B).
pub fn check_password(password: String) -> Result<Secret<String>, &'static str> {
    let length = password.chars().take(MAX_PASSWORD + 1).count();
    if length < MIN_PASSWORD {
        Err("must be at least 8 characters")
    } else if length > MAX_PASSWORD {
        Err("must be at most 128 characters")
    } else if password.contains('\0') {
        Err("must not contain a NUL")
    } else {
        Ok(Secret::new(password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_differ_in_case_are_equal() {
        let email = Email::parse("Ana.Souza+Shop@Example.COM").unwrap();
        assert_eq!(email.as_str(), "ana.souza+shop@example.com");
        assert_eq!(Email::parse("ana.souza+shop@example.com"), Ok(email));
    }

    #[test]
    fn invalid_address_or_header_injection_is_refused() {
        for text in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "ana@example",
            " ana@example.com",
            "ana@example.com ",
            "ana @example.com",
            "ana@example.com\r\nBcc: eve@example.com",
            "ana@example.com\0",
            "ana@example.com,eve@example.com",
            "Ana <ana@example.com>",
            "\"ana souza\"@example.com",
            "an\u{e3}@example.com",
            "ana@ex\u{430}mple.com",
            "ana@127.0.0.1",
            "ana@[127.0.0.1]",
            "ana@[::1.2]",
            "ana@example..com",
            "ana@-example.com",
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn address_longer_than_254_bytes_is_refused() {
        let of = |length: usize| {
            let labels = format!("{}.", "d".repeat(60)).repeat(3);
            let local = "l".repeat(60);
            let rest = length - local.len() - 1 - labels.len();
            format!("{local}@{labels}{}", "c".repeat(rest))
        };
        // The last label has 10 bytes in an address of 254; a label may have 63.
        assert!(Email::parse(&of(254)).is_ok());
        assert_eq!(Email::parse(&of(255)), Err("must be at most 254 bytes"));
    }

    #[test]
    fn debug_output_hides_the_address() {
        let email = Email::parse("ana@example.com").unwrap();
        assert_eq!(format!("{email:?}"), "[redacted]");
    }

    #[test]
    fn password_is_checked_by_its_length_in_characters() {
        for valid in ["12345678", "ç".repeat(8).as_str(), "x".repeat(128).as_str()] {
            assert!(check_password(valid.to_owned()).is_ok(), "{valid}");
        }
        for bad in ["1234567", "x".repeat(129).as_str(), "1234567\0"] {
            assert!(check_password(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
