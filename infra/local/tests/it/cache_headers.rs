//! What caches may keep: the headers of every response of every route.
//!
//! [`crate::openapi::send`] compares each response with the table, so every test of an edition does.

use std::collections::BTreeSet;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::authorisation::undescribed_routes;
use crate::openapi::OPERATIONS;

/// Headers that tell caches what to keep, apart from the two in the table. No response has any.
const OTHERS: [&str; 9] = [
    "age",
    "cdn-cache-control",
    "clear-site-data",
    "expires",
    "last-modified",
    "pragma",
    "surrogate-control",
    "vary",
    "warning",
];

/// The tag of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    None,
    /// The version in the body, if the body is one object with a version.
    Version,
    /// The versions and positions of a listing.
    Listing,
}

/// `Cache-Control` and `ETag` of what is not a refusal, including 304. Empty if there is no
/// `Cache-Control`: a response to a request with a token is not for shared caches.
type Row = (&'static str, &'static str, Tag);

const TABLE: &[Row] = &[
    // Keys are rotated long before they are used, so five minutes are no risk.
    ("GET /.well-known/jwks.json", "public, max-age=300", Tag::None),
    ("GET /.well-known/openid-configuration", "public, max-age=300", Tag::None),
    ("GET /docs", "", Tag::None),
    ("GET /docs/problems", "", Tag::None),
    ("GET /docs/problems/{code}", "", Tag::None),
    ("GET /healthz", "", Tag::None),
    ("GET /metrics", "", Tag::None),
    ("GET /openapi.json", "", Tag::None),
    ("GET /readyz", "", Tag::None),
    ("GET /v1/admin/dead-letters", "", Tag::None),
    ("POST /v1/admin/dead-letters/discard", "", Tag::None),
    ("POST /v1/admin/dead-letters/redrive", "", Tag::None),
    ("GET /v1/admin/dead-letters/{id}", "", Tag::None),
    ("GET /v1/admin/outbox", "", Tag::None),
    ("GET /v1/admin/queues", "", Tag::None),
    ("GET /v1/admin/reconciliations", "", Tag::None),
    ("POST /v1/admin/reconciliations", "", Tag::None),
    ("GET /v1/admin/reconciliations/{id}", "", Tag::None),
    ("GET /v1/admin/trace/{id}", "", Tag::None),
    ("POST /v1/auth/activate", "", Tag::None),
    // Tokens.
    ("POST /v1/auth/login", "no-store", Tag::None),
    ("POST /v1/auth/logout", "", Tag::None),
    ("POST /v1/auth/password/forgot", "", Tag::None),
    ("POST /v1/auth/password/reset", "", Tag::None),
    ("POST /v1/auth/refresh", "no-store", Tag::None),
    ("POST /v1/auth/signup", "", Tag::None),
    ("GET /v1/catalog/categories", "public, max-age=10", Tag::None),
    // The service keeps a page for another second; together they are the two seconds of the description.
    ("GET /v1/catalog/products", "public, max-age=1", Tag::None),
    // A cache must ask each time, or a version could be followed by an older one.
    ("GET /v1/catalog/products/{id}", "public, no-cache", Tag::Listing),
    ("GET /v1/products", "", Tag::None),
    ("POST /v1/products", "", Tag::Version),
    ("POST /v1/products/batch", "", Tag::None),
    ("GET /v1/products/{id}", "", Tag::Version),
    ("PATCH /v1/products/{id}", "", Tag::Version),
    ("DELETE /v1/products/{id}", "", Tag::None),
    // With `as_of` it is the product itself.
    ("GET /v1/products/{id}/history", "", Tag::Version),
    ("POST /v1/products/{id}/restore", "", Tag::Version),
    ("GET /v1/products/{id}/stock", "", Tag::Version),
    ("PUT /v1/products/{id}/stock", "", Tag::Version),
    ("POST /v1/products/{id}/stock/adjustments", "", Tag::Version),
];

/// Compares the headers of a response with the table. `route` is such as `GET /v1/products`, unless the
/// request was for something that is not described.
pub(crate) fn check(
    route: Option<&str>,
    status: u16,
    headers: &HeaderMap,
    body: &Value,
) -> Result<(), String> {
    let values = |name: &str| -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    };
    for name in OTHERS {
        let found = values(name);
        if !found.is_empty() {
            return Err(format!("{name}: {found:?} is in no row of the cache headers"));
        }
    }
    let (caching, tags) = (values("cache-control"), values("etag"));
    let is_problem = values("content-type") == ["application/problem+json"];
    let (expected, tag) = match route {
        _ if is_problem => ("no-store", Tag::None),
        Some(route) => {
            let row = TABLE.iter().find(|(name, ..)| *name == route);
            let (_, expected, tag) = row.ok_or("add a row with its cache headers")?;
            (*expected, *tag)
        }
        None => ("", Tag::None),
    };
    let is_right = if expected.is_empty() { caching.is_empty() } else { caching == [expected] };
    if !is_right {
        return Err(format!("Cache-Control is {caching:?} instead of {expected:?}"));
    }
    check_tag(tag, status, &tags, body).map_err(|()| format!("ETag is {tags:?}: {tag:?}"))
}

fn check_tag(tag: Tag, status: u16, tags: &[&str], body: &Value) -> Result<(), ()> {
    let version = body["version"].as_i64();
    let is_right = match (tag, tags) {
        (Tag::None, tags) => tags.is_empty(),
        // The version is not in the body, but the tag is the one that the request had.
        (Tag::Version, [tag]) if status == 304 => tag.starts_with("\"v"),
        (Tag::Version, tags) => match version {
            Some(version) => tags == [format!("\"v{version}\"")],
            None => tags.is_empty(),
        },
        (Tag::Listing, [tag]) => is_listing_tag(tag, version),
        (Tag::Listing, _) => false,
    };
    if is_right { Ok(()) } else { Err(()) }
}

/// `"v2.1-7.4"`: the versions of product and stock, and the positions of both.
fn is_listing_tag(tag: &str, version: Option<i64>) -> bool {
    let inner = tag.strip_prefix("\"v").and_then(|tag| tag.strip_suffix('"')).unwrap_or_default();
    let parts: Vec<Option<i64>> = inner.split(['.', '-']).map(|part| part.parse().ok()).collect();
    match parts[..] {
        [Some(product), Some(stock), Some(at), Some(stock_at)] => {
            version.is_none_or(|version| version == product)
                && inner == format!("{product}.{stock}-{at}.{stock_at}")
        }
        _ => false,
    }
}

#[test]
fn every_route_has_a_row_of_cache_headers() {
    let mut routes = undescribed_routes();
    routes.extend(OPERATIONS.iter().map(crate::openapi::Operation::name));
    let rows: BTreeSet<String> = TABLE.iter().map(|(route, ..)| (*route).to_owned()).collect();
    assert_eq!(rows, routes, "each route needs a row that says what caches may keep");
    assert_eq!(rows.len(), TABLE.len(), "a route has two rows");
}

#[test]
fn check_refuses_other_headers_than_those_of_the_row() {
    let product = Some("GET /v1/catalog/products/{id}");
    let body = serde_json::json!({"version": 2});
    let checked = |route, status, headers: &[(&'static str, &'static str)]| {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), reqwest::header::HeaderValue::from_static(value))
        });
        check(route, status, &headers.collect(), &body)
    };
    let (tag, caching) = (("etag", "\"v2.1-7.4\""), ("cache-control", "public, no-cache"));
    checked(product, 200, &[tag, caching]).unwrap();
    checked(product, 200, &[tag]).unwrap_err();
    checked(product, 200, &[caching]).unwrap_err();
    checked(product, 200, &[tag, ("cache-control", "public, max-age=60")]).unwrap_err();
    checked(product, 200, &[("etag", "\"v1.1-7.4\""), caching]).unwrap_err();
    checked(product, 200, &[("etag", "\"v2\""), caching]).unwrap_err();
    checked(product, 200, &[tag, caching, ("age", "1")]).unwrap_err();
    checked(Some("GET /v1/products/{id}"), 200, &[("etag", "\"v2\"")]).unwrap();
    checked(Some("GET /v1/products/{id}"), 200, &[("etag", "\"v1\"")]).unwrap_err();
    checked(Some("GET /v1/products/{id}"), 200, &[]).unwrap_err();
    let problem = ("content-type", "application/problem+json");
    checked(product, 404, &[problem, ("cache-control", "no-store")]).unwrap();
    checked(product, 404, &[problem, caching]).unwrap_err();
    checked(None, 404, &[problem]).unwrap_err();
}
