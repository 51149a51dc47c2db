//! Why a request failed, in words for people.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A problem document (RFC 9457), as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(default)]
    pub status: u16,
    /// Stable: branch on this.
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

/// One fault in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer, or the name of a parameter.
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

impl Problem {
    /// Reads the body of an error response, which need not be a problem document.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let read: Option<Self> = serde_json::from_slice(body).ok();
        match read.filter(|problem| !problem.title.is_empty()) {
            Some(problem) => Self { status, ..problem },
            None => Self {
                status,
                title: format!("the response was {status} without a problem document"),
                ..Self::default()
            },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for (index, fault) in self.errors.iter().enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}{} {}", fault.pointer, fault.detail)?;
        }
        if let Some(id) = &self.request_id {
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
    #[error("{call}: {problem}{}", again(*.retry_after))]
    Refused { call: String, problem: Box<Problem>, retry_after: Option<Duration> },
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

    pub fn problem(&self) -> Option<&Problem> {
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
    fn problem_is_shown_as_a_sentence_with_every_fault() {
        let body = br#"{"type":"/docs/problems/invalid_request","title":"Not acceptable",
            "status":422,"code":"invalid_request","request_id":"0190","errors":[
            {"pointer":"/sku","code":"invalid","detail":"must not be blank"},
            {"pointer":"/name","code":"invalid","detail":"must not be blank"}]}"#;
        assert_eq!(
            Problem::read(422, body).to_string(),
            "Not acceptable (invalid_request): /sku must not be blank; /name must not be blank \
             [request 0190]"
        );
    }

    #[test]
    fn response_without_a_problem_document_is_shown_by_its_status() {
        for body in [&b"<html>"[..], b"{}", b""] {
            let problem = Problem::read(502, body);
            assert_eq!(
                (problem.status, problem.to_string().as_str()),
                (502, "the response was 502 without a problem document")
            );
        }
    }

    fn refused(status: u16) -> ClientError {
        ClientError::Refused {
            call: String::new(),
            problem: Box::new(Problem::read(status, b"")),
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
