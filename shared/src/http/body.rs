//! Request bodies: JSON of a bounded size.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;

use crate::http::problem::{self, FieldError, Problem};

/// A JSON body.
///
/// Refuses other content types and encodings (415), oversized bodies (413), invalid UTF-8 and
/// malformed or deeply nested JSON (400), and unknown or duplicate fields and wrong types (422, with
/// a JSON Pointer).
#[derive(Debug)]
pub struct Json<T> {
    pub value: T,
    /// The body as received, for the request hash of an idempotency key.
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

/// A JSON body of up to 1 MiB, for batches. Refuses the same as [`Json`].
#[derive(Debug)]
pub struct LargeJson<T>(pub T);

/// The largest body of a request that is not a batch, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The largest body of a batch, in bytes.
const MAX_BATCH_BODY: usize = 1024 * 1024;

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LargeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_content(request.headers())?;
        let bytes = read(request.into_body(), MAX_BATCH_BODY).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// Bytes of an oversized body to drain, so that the client can finish sending and read the 413.
const DRAIN_LIMIT: usize = 4 * 1024 * 1024;

/// Timeout for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    // Refuse at once if Content-Length exceeds the drain limit.
    if body.size_hint().lower() > DRAIN_LIMIT as u64 {
        return Err(problem::PAYLOAD_TOO_LARGE.because(""));
    }
    let arrived = tokio::time::timeout(BODY_TIMEOUT, read_whole(body, limit)).await;
    arrived.unwrap_or_else(|_| Err(problem::REQUEST_TIMEOUT.because("")))
}

async fn read_whole(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let (mut bytes, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem {
            source: Some(error.into()),
            ..problem::MALFORMED_REQUEST.because("the body ended early")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > DRAIN_LIMIT {
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

/// Parses JSON into a type. Errors carry a JSON Pointer to their place.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        problem::MALFORMED_REQUEST
            .because(format!("the body is not valid UTF-8 after byte {}", error.valid_up_to()))
    })?;
    // Tracking the path costs as much as parsing, so it happens only after an error.
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

/// A value that must be an object. A derived `Deserialize` would also accept an array of fields, which
/// every new field would break.
struct Object<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Deserializes a field that must be an object; for `#[serde(deserialize_with)]`.
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
        // serde_json appends the line and column, which the pointer replaces.
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

/// Translates an error of serde into the terms of the API.
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
        // Names of Rust types mean nothing to a client.
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    /// A body whose last byte arrives after `late`.
    fn body(late: Duration) -> Body {
        let chunks = stream::unfold(0, move |sent| async move {
            match sent {
                0 => Some((Ok::<_, Infallible>("{"), 1)),
                1 => {
                    // Paused time: the tests pause it.
                    tokio::time::sleep(late).await;
                    Some((Ok("}"), 2))
                }
                _ => None,
            }
        });
        Body::from_stream(chunks)
    }

    #[tokio::test(start_paused = true)]
    async fn body_may_take_up_to_twenty_seconds_to_arrive() {
        let arrived = read(body(Duration::from_millis(19_999)), MAX_BODY).await.unwrap();
        assert_eq!(arrived, "{}");
        let begun = tokio::time::Instant::now();
        let refused = read(body(Duration::from_mins(1)), MAX_BODY).await.unwrap_err();
        assert_eq!((refused.kind.code, refused.kind.status), ("request_timeout", 408));
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
    }

    /// A request whose body is one object of this many bytes, in chunks.
    fn request(length: usize) -> Request {
        let mut body = b"{}".to_vec();
        body.resize(length, b' ');
        let chunks: Vec<_> =
            body.chunks(10_000).map(|chunk| Ok::<_, Infallible>(chunk.to_vec())).collect();
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from_stream(stream::iter(chunks))).unwrap()
    }

    #[tokio::test]
    async fn body_is_accepted_up_to_its_limit() {
        let code = |refused: Problem| refused.kind.code;
        for (length, expected) in [
            (2, Ok(2)),
            (60 * 1024, Ok(60 * 1024)),
            (65_536, Ok(65_536)),
            (65_537, Err("payload_too_large")),
            (DRAIN_LIMIT + 1, Err("payload_too_large")),
        ] {
            let read = Json::<serde_json::Value>::from_request(request(length), &()).await;
            assert_eq!(read.map(|json| json.bytes.len()).map_err(code), expected, "{length}");
        }
        for (length, expected) in [
            (65_537, Ok(())),
            (1_048_576, Ok(())),
            (1_048_577, Err("payload_too_large")),
            (DRAIN_LIMIT + 1, Err("payload_too_large")),
        ] {
            let read = LargeJson::<serde_json::Value>::from_request(request(length), &()).await;
            assert_eq!(read.map(|_| ()).map_err(code), expected, "{length}");
        }
    }
}
