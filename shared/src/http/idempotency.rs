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

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// The key that a request with these headers has, or the code of its refusal.
    async fn read(keys: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut request = Request::builder();
        for key in keys {
            request = request.header("idempotency-key", *key);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let read = IdempotencyKey::from_request_parts(&mut parts, &()).await;
        read.map(|key| key.0).map_err(|problem| problem.kind.code)
    }

    #[tokio::test]
    async fn key_has_up_to_255_visible_characters() {
        assert_eq!(read(&[]).await, Ok(None));
        let longest = "x".repeat(255);
        for key in ["!", "~", "a", "0", longest.as_str()] {
            assert_eq!(read(&[key.as_bytes()]).await, Ok(Some(key.to_owned())));
        }
        let longer = "x".repeat(256);
        for key in ["", " ", "a b", "\t", "é", longer.as_str()] {
            assert_eq!(read(&[key.as_bytes()]).await, Err("malformed_request"), "{key:?}");
        }
        assert_eq!(read(&[b"\xff"]).await, Err("malformed_request"));
        assert_eq!(read(&[b"a", b"a"]).await, Err("malformed_request"), "sent twice");
    }
}
