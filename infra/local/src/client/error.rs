//! Why a request failed, in words for people.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use shared::http::problem::ProblemDocument;
use shared::id::RequestId;

/// Reads the body of an error response, which need not be a problem document, or may be that of a proxy:
/// every member of a problem document is optional (RFC 9457).
pub(super) fn read_problem(status: u16, body: &[u8]) -> ProblemDocument {
    let read = serde_json::from_slice(body).ok().and_then(|mut document: Map<String, Value>| {
        for (member, default) in [("type", "about:blank"), ("code", "")] {
            document.entry(member).or_insert_with(|| default.into());
        }
        document.insert("status".to_owned(), status.into());
        let id = document.get("request_id").and_then(Value::as_str);
        if id.is_some_and(|id| id.parse::<RequestId>().is_err()) {
            document.remove("request_id");
        }
        serde_json::from_value::<ProblemDocument>(document.into()).ok()
    });
    match read.filter(|problem| !problem.title.is_empty()) {
        Some(problem) => problem,
        None => ProblemDocument {
            type_url: "about:blank".to_owned(),
            title: format!("the response was {status} without a problem document").into(),
            status,
            code: Cow::default(),
            detail: Cow::default(),
            request_id: None,
            errors: Vec::new(),
        },
    }
}

/// A problem as a sentence.
pub(crate) struct Sentence<'a>(pub(crate) &'a ProblemDocument);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problem) = self;
        f.write_str(&problem.title)?;
        if !problem.code.is_empty() {
            write!(f, " ({})", problem.code)?;
        }
        if !problem.detail.is_empty() {
            write!(f, ": {}", problem.detail)?;
        }
        for (index, error) in problem.errors.iter().enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}{} {}", error.pointer, error.detail)?;
        }
        if let Some(id) = &problem.request_id {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

/// Why a request has no successful response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("building an HTTP client")]
    Build(#[source] reqwest::Error),
    #[error("writing a request as JSON: {0}")]
    Unwritable(String),
    #[error("signing a token")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{call}: {base} sent no response")]
    NoResponse { call: String, base: String, source: reqwest::Error },
    #[error("{call}: {}{}", Sentence(.problem), again(*.retry_after))]
    Refused { call: String, problem: Box<ProblemDocument>, retry_after: Option<Duration> },
    #[error("{call}: the response cannot be read")]
    Unreadable { call: String, source: serde_json::Error },
}

fn again(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!("; retry in {} s", wait.as_secs()))
}

impl ClientError {
    /// The status of the error response.
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|problem| problem.status)
    }

    pub fn problem(&self) -> Option<&ProblemDocument> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether it is a problem with this stable code.
    pub fn is(&self, code: &str) -> bool {
        self.problem().is_some_and(|problem| problem.code == code)
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether a retry may help and does no harm.
    pub(super) fn may_be_repeated(&self, repeatable: bool) -> bool {
        match self {
            // Without a connection the request had no effect. Otherwise it may have had one.
            Self::NoResponse { source, .. } => source.is_connect() || repeatable,
            Self::Refused { problem, .. } => match problem.status {
                429 => true,
                // A store may have applied the change before it stopped responding.
                503 => repeatable,
                _ => false,
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_that_of_the_response_whatever_its_body_says() {
        for body in
            [&br#"{"title":"All is well","status":200}"#[..], br#"{"title":"Gone"}"#, b"<p>"]
        {
            assert_eq!(read_problem(502, body).status, 502);
        }
    }

    #[test]
    fn problem_is_shown_as_a_sentence_with_every_fault() {
        let body = br#"{"type":"/docs/problems/invalid_request","title":"Not acceptable",
            "status":422,"code":"invalid_request",
            "request_id":"01900000-0000-7000-8000-000000000001","errors":[
            {"pointer":"/sku","code":"invalid","detail":"must not be blank"},
            {"pointer":"/name","code":"invalid","detail":"must not be blank"}]}"#;
        assert_eq!(
            Sentence(&read_problem(422, body)).to_string(),
            "Not acceptable (invalid_request): /sku must not be blank; /name must not be blank \
             [request 01900000-0000-7000-8000-000000000001]"
        );
    }

    #[test]
    fn problem_document_of_a_proxy_is_shown_by_its_title() {
        let body = br#"{"title":"Too large","request_id":"of another form"}"#;
        assert_eq!(Sentence(&read_problem(413, body)).to_string(), "Too large");
    }

    #[test]
    fn response_without_a_problem_document_is_shown_by_its_status() {
        for body in [&b"<html>"[..], b"{}", b""] {
            let problem = read_problem(502, body);
            assert_eq!(
                (problem.status, Sentence(&problem).to_string().as_str()),
                (502, "the response was 502 without a problem document")
            );
        }
    }

    fn refused(status: u16) -> ClientError {
        ClientError::Refused {
            call: String::new(),
            problem: Box::new(read_problem(status, b"")),
            retry_after: None,
        }
    }

    #[test]
    fn request_is_retried_only_if_that_is_harmless() {
        assert!(refused(429).may_be_repeated(false));
        assert!(!refused(503).may_be_repeated(false));
        assert!(refused(503).may_be_repeated(true));
        for status in [400, 401, 409, 422, 500] {
            assert!(!refused(status).may_be_repeated(true), "{status}");
        }
    }
}
