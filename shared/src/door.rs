//! The door: whatever comes from outside is read here, once, or refused with a clear problem.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::{HeaderMap, HeaderName, Uri, header, request::Parts};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;
use uuid::Uuid;

use crate::host::http::MAX_BODY;
use crate::id;
use crate::problem::{self, FieldError, Problem};

/// A JSON body.
///
/// Refused are: other content types and encodings (415), too large a body (413), invalid UTF-8 and
/// broken or deeply nested JSON (400), unknown or repeated fields and values of a wrong type (422,
/// with a JSON Pointer).
#[derive(Debug)]
pub struct Json<T> {
    pub value: T,
    /// The body as it was sent, for the hash behind an idempotency key.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content(request.headers())?;
        let bytes = read(request.into_body(), MAX_BODY).await?;
        Ok(Self { value: parse(&bytes)?, bytes })
    }
}

/// A JSON body of up to 1 MiB, for batches. Refused is the same as with [`Json`].
#[derive(Debug)]
pub struct LargeJson<T>(pub T);

/// The largest body of a batch, in bytes.
pub const MAX_BATCH_BODY: usize = 1024 * 1024;

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LargeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content(request.headers())?;
        let bytes = read(request.into_body(), MAX_BATCH_BODY).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// How much of a body that is too large is read, in bytes, so that who sends it gets to read why it
/// is refused: one who is still sending when the connection ends sees only that.
const MAX_DISCARDED: usize = 4 * 1024 * 1024;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    // Who announces more than is read to be discarded need not begin to send it.
    if body.size_hint().lower() > MAX_DISCARDED as u64 {
        return Err(problem::PAYLOAD_TOO_LARGE.because(""));
    }
    let arrived = tokio::time::timeout(ARRIVAL, read_whole(body, limit)).await;
    arrived.unwrap_or_else(|_| Err(problem::REQUEST_TIMEOUT.because("")))
}

async fn read_whole(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let (mut bytes, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem {
            source: Some(error.into()),
            ..problem::MALFORMED_REQUEST.because("the body could not be read to its end")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > limit { Err(problem::PAYLOAD_TOO_LARGE.because("")) } else { Ok(bytes.freeze()) }
}

fn check_content(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail: &'static str| Err(problem::UNSUPPORTED_MEDIA_TYPE.because(detail));
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return refuse("the body must not be compressed");
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    if essence != "application/json" && essence != "application/merge-patch+json" {
        return refuse("the body must be application/json");
    }
    for parameter in parts {
        if let Some((name, value)) = parameter.split_once('=')
            && name.eq_ignore_ascii_case("charset")
            && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        {
            return refuse("the body must be in UTF-8");
        }
    }
    Ok(())
}

/// Reads JSON into a type, with a JSON Pointer to whatever does not fit.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        problem::MALFORMED_REQUEST
            .because(format!("the body is not valid UTF-8 after byte {}", error.valid_up_to()))
    })?;
    // The way to a fault is kept track of only where there is one: it costs as much as reading.
    if let Ok(Object(value)) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        refuse(error.inner(), pointer)
    })?;
    json.end().map_err(|error| refuse(&error, String::new()))?;
    Ok(value)
}

/// A value that is written as an object. Types that derive `Deserialize` can also be read from an
/// array of their fields, which nobody means and every new field would break.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads a field that must be written as an object; for `#[serde(deserialize_with)]`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Members(PhantomData))
}

fn refuse(error: &serde_json::Error, pointer: String) -> Problem {
    if error.is_data() {
        let sentence = error.to_string();
        // serde_json appends the place, which the pointer says better.
        let (code, detail) = describe(sentence.split(" at line ").next().unwrap_or_default());
        Problem::invalid(vec![FieldError::new(pointer, code, detail)])
    } else {
        problem::MALFORMED_REQUEST.because(format!(
            "the body is not valid JSON at line {} column {}",
            error.line(),
            error.column()
        ))
    }
}

/// Puts what serde says into the words of the API.
fn describe(sentence: &str) -> (&'static str, String) {
    if sentence.starts_with("unknown field") {
        ("unknown_field", sentence.to_owned())
    } else if sentence.starts_with("missing field") {
        ("missing_field", sentence.to_owned())
    } else if sentence.starts_with("duplicate field") {
        ("duplicate_field", sentence.to_owned())
    } else if let Some((found, expected)) = sentence
        .strip_prefix("invalid type: ")
        .or_else(|| sentence.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        // Rust's names for types say nothing to a caller.
        let expected = match expected {
            "i64" | "u64" | "i32" | "u32" => "a whole number",
            "f64" => "a number",
            other if other.starts_with("struct ") => "an object",
            other => other,
        };
        ("wrong_type", format!("expected {expected}, found {found}"))
    } else {
        ("invalid", sentence.to_owned())
    }
}

/// RFC 6901.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                out.push('/');
                out.push_str(&index.to_string());
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                out.push('/');
                out.push_str(&escape_pointer(key));
            }
            Segment::Unknown => {}
        }
    }
    out
}

/// One reference token of a JSON Pointer.
pub fn escape_pointer(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// Parameters of the address; unknown and repeated ones are refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    /// Reads the parameters of an address.
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

/// Refuses what would be read as something else than was sent, and control characters: PostgreSQL
/// keeps no NUL, and no name has any of the others.
fn check_query(query: &str) -> Result<(), &'static str> {
    let mut parts = query.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let escaped = escaped.ok_or("a % in the parameters must begin an escaped byte")?;
        bytes.push(escaped);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    match std::str::from_utf8(&bytes) {
        Err(_) => Err("the parameters are not valid UTF-8"),
        Ok(text) if text.bytes().any(|byte| byte.is_ascii_control()) => {
            Err("parameters must not contain control characters")
        }
        Ok(_) => Ok(()),
    }
}

/// The `{id}` of an address. What is no id names nothing: 404.
#[derive(Clone, Copy, Debug)]
pub struct PathId(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = text.and_then(|Path(text)| id::read(&text));
        id.map(Self).ok_or_else(Problem::not_found)
    }
}

/// Reads a parameter that is an id; for `#[serde(deserialize_with)]`, together with `default`.
pub fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
    let text = String::deserialize(deserializer)?;
    id::read(&text).map(Some).ok_or_else(|| serde::de::Error::custom("this is no id"))
}

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;

/// The `Idempotency-Key` of a request, if it has one: 1 to 255 visible ASCII characters.
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
            _ => Err(problem::MALFORMED_REQUEST
                .because("Idempotency-Key must be 1 to 255 visible ASCII characters, once")),
        }
    }
}

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
