//! Problem documents (RFC 9457) with a stable code: the response to every refused request.
//!
//! A [`Problem`] contains what the client needs to act. Its cause is logged and never sent.

use std::borrow::Cow;
use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::id::RequestId;
use crate::telemetry;

/// A kind of problem. Its documentation page is at `Kind::type_url`.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Stable identifier for clients to branch on.
    pub code: &'static str,
    pub status: u16,
    pub title: &'static str,
    /// What the problem means and how to resolve it, for the documentation page.
    pub explanation: &'static str,
}

impl Kind {
    pub(crate) fn type_url(&self) -> String {
        format!("/docs/problems/{}", self.code)
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// A problem of this kind. `detail` describes this occurrence.
    pub fn because(&'static self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            kind: self,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            source: None,
        }
    }
}

macro_rules! kinds {
    ($($name:ident = $status:literal $code:literal, $title:literal, $explanation:literal;)*) => {
        $(pub static $name: Kind = Kind {
            code: $code, status: $status, title: $title, explanation: $explanation,
        };)*
        /// The kinds that any service may return. Services add their own.
        pub static SHARED: &[&Kind] = &[$(&$name),*];
    };
}

kinds! {
    MALFORMED_REQUEST = 400 "malformed_request", "The request cannot be read",
        "The body is not valid UTF-8 or not valid JSON, or a parameter in the address cannot be \
         read. `detail` says where. Nothing was stored. Correct the request and send it again.";
    INVALID_CURSOR = 400 "invalid_cursor", "The cursor is not valid for this list",
        "A cursor is valid only for the list and the filters that it was returned with, and must be \
         sent unchanged. Start again without a cursor.";
    UNAUTHENTICATED = 401 "unauthenticated", "Credentials are missing or not valid",
        "Send `Authorization: Bearer <access token>` with a token that has not expired. \
         `POST /v1/auth/login` and `POST /v1/auth/refresh` return one.";
    FORBIDDEN = 403 "forbidden", "Your role does not allow this",
        "The token is valid, but none of its roles allows this operation.";
    NOT_FOUND = 404 "not_found", "Not found",
        "The resource does not exist, or it belongs to another account. The response does not tell \
         which.";
    METHOD_NOT_ALLOWED = 405 "method_not_allowed", "The method is not allowed",
        "The `Allow` header lists the methods that the resource supports.";
    REQUEST_TIMEOUT = 408 "request_timeout", "The request took too long to arrive",
        "The whole request must arrive within 20 seconds. Nothing was stored.";
    STALE_VERSION = 412 "stale_version", "The resource has changed",
        "`If-Match` names a version that is no longer the current one. Read the resource again, \
         reapply the change, and send its new `ETag`.";
    PAYLOAD_TOO_LARGE = 413 "payload_too_large", "The body is too large",
        "A body may be up to 64 KiB, or 1 MiB for a batch.";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported_media_type", "The content type is not supported",
        "Send JSON as `Content-Type: application/json` (a merge patch may also be \
         `application/merge-patch+json`), in UTF-8, without a `Content-Encoding`.";
    INVALID_REQUEST = 422 "invalid_request", "The request is not valid",
        "`errors` lists each error: a JSON Pointer to its place, a stable code and a sentence. \
         Nothing was stored.";
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency_key_reused", "The idempotency key belongs to another request",
        "The same `Idempotency-Key` was sent before with another body. A key belongs to one request. \
         Use a new key.";
    VERSION_REQUIRED = 428 "version_required", "The If-Match header is missing",
        "Send `If-Match` with the `ETag` of the resource, so that no concurrent change is \
         overwritten.";
    RATE_LIMITED = 429 "rate_limited", "Too many requests",
        "Wait for the number of seconds in `Retry-After`, then retry.";
    INTERNAL = 500 "internal", "Something went wrong on our side",
        "The error was logged with the `request_id`. Retrying is safe if the request has an \
         `Idempotency-Key` or changes nothing.";
    UNAVAILABLE = 503 "unavailable", "The service is temporarily unavailable",
        "A data store does not respond. Wait for the number of seconds in `Retry-After`, then retry. \
         Retrying a create is safe with an `Idempotency-Key`.";
}

/// One error in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) into the body, or the name of a parameter.
    pub pointer: String,
    /// Stable identifier of the error.
    pub code: Cow<'static, str>,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

/// A refused request.
#[derive(Debug)]
pub struct Problem {
    pub kind: &'static Kind,
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// For the header `Allow`.
    pub allow: Option<HeaderValue>,
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// A problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// URL of the page that explains this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems/invalid_request")]
    pub type_url: String,
    pub title: Cow<'static, str>,
    pub status: u16,
    /// Stable identifier for clients to branch on.
    #[schema(example = "invalid_request")]
    pub code: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>, nullable = false)]
    pub request_id: Option<RequestId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// One or more errors in the request.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..INVALID_REQUEST.because("") }
    }

    pub fn not_found() -> Self {
        NOT_FOUND.because("")
    }

    /// A failure that the client did not cause.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(cause.into()), ..INTERNAL.because("") }
    }

    /// A store does not respond. The client may retry after a second.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(cause.into()), retry_after: Some(1), ..UNAVAILABLE.because("") }
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Logs the cause, if there is one. Called once, where the problem is handled.
    pub fn log(&self) {
        let Some(source) = &self.source else { return };
        let (error, code) = (telemetry::causes(source.as_ref()), self.kind.code);
        match self.kind.status {
            503 => tracing::warn!(error, problem.code = code, "a store did not respond"),
            // Caused by the client, which can repeat it at any rate: not a warning.
            400..500 => tracing::info!(error, problem.code = code, "a store refused a request"),
            _ => tracing::error!(error, problem.code = code, "a request failed"),
        }
    }

    pub fn to_document(&self, request_id: Option<RequestId>) -> ProblemDocument {
        ProblemDocument {
            type_url: self.kind.type_url(),
            title: self.kind.title.into(),
            status: self.kind.status,
            code: self.kind.code.into(),
            detail: self.detail.clone(),
            request_id,
            errors: self.errors.clone(),
        }
    }

    /// The complete response.
    pub(crate) fn to_response(&self, request_id: Option<RequestId>) -> Response {
        let body = serde_json::to_vec(&self.to_document(request_id)).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = &self.allow {
            headers.insert(header::ALLOW, allow.clone());
        }
        if self.kind == &UNAUTHENTICATED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Attaches the problem to the response, so that [`crate::http::request::track`] can log it and
    /// add the request id.
    fn into_response(self) -> Response {
        let mut response = self.to_response(None);
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
