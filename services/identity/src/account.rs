//! THE RULES of accounts: which addresses, passwords and names are accepted.

use std::fmt;
use std::net::IpAddr;

use email_address::EmailAddress;
use shared::auth::Role;
use shared::config::Secret;
use shared::text::{self, Lines, TextFault};

/// Longest address, in bytes: what a path of RFC 5321 leaves for it.
const MAX_EMAIL: usize = 254;

const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 128;
const MAX_NAME: usize = 200;

/// A mail address in lower case: what is stored, compared and written to.
///
/// Mail goes to this form too, and not to what was typed: where a host takes `Ana` and `ana` for
/// two mailboxes, the code for one must not arrive at the other.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "must be a mail address such as ana@example.com";
        if text.len() > MAX_EMAIL {
            return Err("must be at most 254 bytes");
        }
        // Quoted local parts may hold blanks and commas, and letters beyond ASCII have twins that
        // look the same. Hardly anybody has such an address; forgers of headers want them.
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
    /// Addresses are personal: they have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A sign-up that may be done.
#[derive(Clone, Debug)]
pub(crate) struct Signup {
    pub email: Email,
    pub password: Secret<String>,
    pub name: String,
    pub role: Role,
}

/// One line that a person can read.
pub(crate) fn check_name(name: &str) -> Result<(), TextFault> {
    text::check(name, MAX_NAME, Lines::One)
}

/// Length is what makes a password good; rules of composition only make it forgettable (NIST SP
/// 800-63B).
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
    fn one_mailbox_is_one_address_however_it_is_written() {
        let email = Email::parse("Ana.Souza+Shop@Example.COM").unwrap();
        assert_eq!(email.as_str(), "ana.souza+shop@example.com");
        assert_eq!(Email::parse("ana.souza+shop@example.com"), Ok(email));
    }

    #[test]
    fn what_is_no_address_or_could_forge_a_header_is_refused() {
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
    fn an_address_has_at_most_254_bytes() {
        let of = |length: usize| {
            let labels = format!("{}.", "d".repeat(60)).repeat(3);
            let local = "l".repeat(60);
            let rest = length - local.len() - 1 - labels.len();
            format!("{local}@{labels}{}", "c".repeat(rest))
        };
        // 10 bytes of last label make 254; a label itself may have 63
        assert!(Email::parse(&of(254)).is_ok());
        assert_eq!(Email::parse(&of(255)), Err("must be at most 254 bytes"));
    }

    #[test]
    fn an_address_is_not_printed() {
        let email = Email::parse("ana@example.com").unwrap();
        assert_eq!(format!("{email:?}"), "[redacted]");
    }

    #[test]
    fn a_password_is_judged_by_its_length_in_characters_alone() {
        for good in ["12345678", "ç".repeat(8).as_str(), "x".repeat(128).as_str()] {
            assert!(check_password(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["1234567", "x".repeat(129).as_str(), "1234567\0"] {
            assert!(check_password(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
