//! The `Idempotency-Key` header.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::http::problem::{self, Problem};

/// Maximum length of an `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;

/// The optional `Idempotency-Key` of a request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.as_bytes();
        let good = (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(key) {
            Ok(key) if good && values.next().is_none() => Ok(Self(Some(key.to_owned()))),
            _ => Err(problem::MALFORMED_REQUEST.because(
                "Idempotency-Key must be sent once and have 1 to 255 visible ASCII characters",
            )),
        }
    }
}
