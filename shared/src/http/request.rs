//! Request tracking: id, trace and outcome.
//!
//! Every response carries `X-Request-Id`, and a problem document contains the same id, so that
//! `vitrina trace` finds the request that a client reports.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::http::problem::{self, Problem};
use crate::id::{Ids, RequestId};
use crate::metrics::HTTP_REQUEST_SECONDS;
use crate::telemetry;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Metadata of a request for handlers.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub id: RequestId,
    pub requested_at: DateTime<Utc>,
    /// W3C trace context: the client's trace, or a new one named after the request id.
    pub traceparent: String,
}

impl RequestContext {
    /// The context of work without a request, such as a repair.
    pub fn background(clock: &Clock, ids: &Ids) -> Self {
        Self::new(clock, ids, &HeaderMap::new())
    }

    fn new(clock: &Clock, ids: &Ids, headers: &HeaderMap) -> Self {
        let requested_at = clock.now();
        let id: RequestId = ids.next(requested_at);
        let trace = headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(trace_of)
            .map_or_else(|| id.uuid().simple().to_string(), ToOwned::to_owned);
        let mut span = String::with_capacity(16);
        for byte in &id.uuid().as_bytes()[8..] {
            let _ = write!(span, "{byte:02x}");
        }
        Self { id, requested_at, traceparent: format!("00-{trace}-{span}-01") }
    }
}

/// The trace id in a W3C `traceparent`, if it is valid.
fn trace_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, _flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && text.bytes().any(|b| b != b'0')
    };
    (version.len() == 2 && version != "ff" && hex(trace, 32) && hex(span, 16)).then_some(trace)
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self::background(&Clock::System, &Ids::System)))
    }
}

/// The middleware around every route: assigns the request id, span and metrics, and completes problem
/// documents.
pub async fn track(
    State((clock, ids)): State<(Clock, Ids)>,
    mut request: Request,
    next: Next,
) -> Response {
    // Monotonic: a wall clock may jump, and ids keep milliseconds only.
    let started = Instant::now();
    let context = RequestContext::new(&clock, &ids, request.headers());
    // The pattern, not the path: the number of label values must not grow with the products.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request", otel.kind = "server", request.id = %context.id, http.method = %method,
        http.route = %route,
    );
    telemetry::continue_trace(&span, &context.traceparent);
    let id = context.id;
    request.extensions_mut().insert(context);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        span.in_scope(|| problem.log());
        response = problem.to_response(Some(id));
    } else if is_bare(&response) {
        // Refusals of the router itself have no problem document yet.
        let problem = refusal(&response);
        response = problem.to_response(Some(id));
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    let status = response.status().as_u16();
    metrics::histogram!(
        HTTP_REQUEST_SECONDS,
        "method" => method_label(&method), "route" => route, "status" => status.to_string()
    )
    .record(started.elapsed());
    response
}

/// Maps unknown methods to one label value, because clients can invent methods.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn is_bare(response: &Response) -> bool {
    let refused = response.status().is_client_error() || response.status().is_server_error();
    refused
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn refusal(response: &Response) -> Problem {
    match response.status() {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Problem {
            allow: response.headers().get(header::ALLOW).cloned(),
            ..problem::METHOD_NOT_ALLOWED.because("")
        },
        StatusCode::PAYLOAD_TOO_LARGE => problem::PAYLOAD_TOO_LARGE.because(""),
        StatusCode::REQUEST_TIMEOUT => problem::REQUEST_TIMEOUT.because(""),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem::UNSUPPORTED_MEDIA_TYPE.because(""),
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable("a handler timed out"),
        status if status.is_client_error() => problem::MALFORMED_REQUEST.because(""),
        status => {
            Problem::internal(format!("a handler returned {status} without a problem document"))
        }
    }
}

/// Responds to a panic of a handler. The process and its other requests continue.
pub(crate) fn panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(traceparent: &'static str) -> RequestContext {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(traceparent));
        RequestContext::new(&Clock::fixed(DateTime::UNIX_EPOCH), &Ids::seeded(1), &headers)
    }

    #[test]
    fn trace_of_the_client_is_continued() {
        let own = context("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(own.traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    }

    #[test]
    fn invalid_trace_is_replaced_by_the_request_id() {
        for broken in ["", "00-0", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let own = context(broken);
            assert!(own.traceparent.contains(&own.id.uuid().simple().to_string()), "{broken}");
        }
    }
}
