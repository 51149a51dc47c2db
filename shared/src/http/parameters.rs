//! Query and path parameters.

use axum::extract::{FromRequestParts, Path};
use axum::http::{Uri, request::Parts};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

use crate::http::problem::{self, Problem};
use crate::id::{self, Id, InvalidId};

/// Query parameters. Unknown and repeated ones are refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// Parses the query of a URI.
    pub fn read(uri: &Uri) -> Result<Self, Problem> {
        if let Some(query) = uri.query() {
            check_query(query).map_err(|detail| problem::MALFORMED_REQUEST.because(detail))?;
        }
        axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| {
                let sentence = rejection.body_text();
                let detail = sentence
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&sentence)
                    .to_owned();
                problem::MALFORMED_REQUEST.because(detail)
            })
    }
}

/// Refuses malformed escapes, invalid UTF-8, which would be replaced silently, and control
/// characters: PostgreSQL cannot store NUL, and no name contains the others.
fn check_query(query: &str) -> Result<(), &'static str> {
    let mut parts = query.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let escaped = escaped.ok_or("a % in the query must start an escaped byte, such as %20")?;
        bytes.push(escaped);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    match std::str::from_utf8(&bytes) {
        Err(_) => Err("the query is not valid UTF-8"),
        Ok(text) if text.bytes().any(|byte| byte.is_ascii_control()) => {
            Err("the query must not contain control characters")
        }
        Ok(_) => Ok(()),
    }
}

/// The `{id}` of a path. An invalid id is a 404, like an unknown one.
#[derive(Clone, Copy, Debug)]
pub struct PathId<T>(pub T);

impl<T: Id, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = text.and_then(|Path(text)| id::read(&text));
        id.map(Self).ok_or_else(Problem::not_found)
    }
}

/// Deserializes a parameter that is an id; for `#[serde(deserialize_with)]` with `default`.
pub fn optional_id<'de, T: Id, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    id::read(&text).map(Some).ok_or_else(|| serde::de::Error::custom(InvalidId))
}
