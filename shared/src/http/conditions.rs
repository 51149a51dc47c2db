//! Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110).

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderName, header, request::Parts};

use crate::expected::Expected;
use crate::http::problem::{self, Problem};

/// `If-Match` as versions: `"v7"`, a list, or `*`.
///
/// A missing header is a 428. A header without a known version cannot match: 412.
#[derive(Clone, Debug)]
pub struct IfMatch(pub Expected);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Err(
                problem::VERSION_REQUIRED.because("this request requires the If-Match header")
            );
        }
        let tags: Vec<&str> = tags(&parts.headers, header::IF_MATCH).collect();
        if tags == ["*"] {
            return Ok(Self(Expected::Any));
        }
        let any_among_others = tags.contains(&"*");
        let versions: Vec<i64> = tags.into_iter().filter_map(version_of).collect();
        if versions.is_empty() || any_among_others {
            let detail = "If-Match contains no version of this resource";
            return Err(problem::STALE_VERSION.because(detail));
        }
        Ok(Self(Expected::OneOf(versions)))
    }
}

/// The strong `ETag` of a version.
pub fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// The version in an `ETag` made by [`etag`]. A weak tag does not allow a change.
fn version_of(tag: &str) -> Option<i64> {
    let number = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    // Only the exact form that `etag` writes, not another notation of the same number.
    number.parse().ok().filter(|version| etag(*version) == tag)
}

/// Whether `If-None-Match` contains `tag` (weak comparison, RFC 9110).
pub fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    tags(headers, header::IF_NONE_MATCH)
        .any(|seen| seen == "*" || seen.strip_prefix("W/").unwrap_or(seen) == tag)
}

/// The tags in all values of a list header.
fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}
