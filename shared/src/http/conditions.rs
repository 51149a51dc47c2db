//! Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110).

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderName, header, request::Parts};

use crate::http::problem::{self, Problem};

/// `If-Match` as versions: `"v7"`, a list of them, or `*`.
///
/// A missing header is 428; a header that names no version of ours cannot match: 412.
#[derive(Clone, Debug)]
pub struct IfMatch(pub Expected);

/// Which versions a change may be applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Any,
    OneOf(Vec<i64>),
}

impl Expected {
    pub fn accepts(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Err(problem::VERSION_REQUIRED.because("this request needs the header If-Match"));
        }
        let tags: Vec<&str> = tags(&parts.headers, header::IF_MATCH).collect();
        if tags == ["*"] {
            return Ok(Self(Expected::Any));
        }
        let any_among_others = tags.contains(&"*");
        let versions: Vec<i64> = tags.into_iter().filter_map(version_of).collect();
        if versions.is_empty() || any_among_others {
            let detail = "If-Match names no version of this resource";
            return Err(problem::STALE_VERSION.because(detail));
        }
        Ok(Self(Expected::OneOf(versions)))
    }
}

/// The strong `ETag` of a version.
pub fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// The version in an `ETag` of [`etag`]. A weak one is not good enough for a change.
fn version_of(tag: &str) -> Option<i64> {
    let number = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    // What `etag` writes, and nothing else that reads as the same number.
    number.parse().ok().filter(|version| etag(*version) == tag)
}

/// Whether `If-None-Match` says that the caller has `tag` already (compared weakly, RFC 9110).
pub fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    tags(headers, header::IF_NONE_MATCH)
        .any(|seen| seen == "*" || seen.strip_prefix("W/").unwrap_or(seen) == tag)
}

/// The tags of a header that lists some, which may stand in it more than once.
fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}
