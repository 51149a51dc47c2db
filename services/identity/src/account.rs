//! THE RULES of accounts: which addresses, passwords and names are accepted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lettre::Address;
use serde::Deserialize;
use shared::config::Secret;
use shared::http::auth::Role;
use shared::http::problem::FieldError;
use shared::text::{self, Lines};

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
pub(crate) struct Email(Address);

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
        let address: Address = text.to_ascii_lowercase().parse().map_err(|_| SHAPE)?;
        let domain = address.domain();
        let is_host = domain.contains('.') && domain.parse::<IpAddr>().is_err();
        if !is_host || domain.starts_with('[') {
            return Err(SHAPE);
        }
        Ok(Self(address))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0
    }
}

impl fmt::Debug for Email {
    /// Addresses are personal: they have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who somebody signs up as. Operators are not made over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
enum SignupRole {
    Seller,
    Buyer,
}

impl FromStr for SignupRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "seller" => Ok(Self::Seller),
            "buyer" => Ok(Self::Buyer),
            _ => Err("must be seller or buyer"),
        }
    }
}

impl From<SignupRole> for Role {
    fn from(role: SignupRole) -> Self {
        match role {
            SignupRole::Seller => Self::Seller,
            SignupRole::Buyer => Self::Buyer,
        }
    }
}

/// A sign-up as it is sent.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignUp)]
pub(crate) struct SentSignup {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
    /// Any characters, as long as there are enough of them.
    #[schema(format = "password", min_length = 8, max_length = 128, example = "a long sentence")]
    password: String,
    #[schema(min_length = 1, max_length = 200, example = "Ana Souza")]
    name: String,
    #[schema(value_type = SignupRole)]
    role: String,
}

/// A sign-up that may be done.
#[derive(Clone, Debug)]
pub(crate) struct Signup {
    pub email: Email,
    pub password: Secret<String>,
    pub name: String,
    pub role: Role,
}

impl Signup {
    pub(crate) fn parse(sent: SentSignup) -> Result<Self, Vec<FieldError>> {
        let mut faults = Faults::default();
        let email = faults.keep("/email", Email::parse(&sent.email));
        let password = faults.keep("/password", check_password(sent.password));
        faults.keep("/name", text::check(&sent.name, MAX_NAME, Lines::One));
        let role = faults.keep("/role", sent.role.parse::<SignupRole>());
        match (email, password, role) {
            (Some(email), Some(password), Some(role)) if faults.0.is_empty() => {
                Ok(Self { email, password, name: sent.name, role: role.into() })
            }
            _ => Err(faults.0),
        }
    }
}

/// The faults of a request, each where it was found.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<FieldError>);

impl Faults {
    pub(crate) fn keep<T, E: ToString>(
        &mut self,
        pointer: &'static str,
        checked: Result<T, E>,
    ) -> Option<T> {
        checked
            .map_err(|fault| {
                self.0.push(FieldError::new(pointer, "invalid", fault.to_string()));
            })
            .ok()
    }
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

    #[test]
    fn every_fault_of_a_signup_is_named_at_once() {
        let faults = Signup::parse(SentSignup {
            email: "ana".to_owned(),
            password: "short".to_owned(),
            name: " ".to_owned(),
            role: "operator".to_owned(),
        })
        .unwrap_err();
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/email", "/password", "/name", "/role"]);
    }
}
