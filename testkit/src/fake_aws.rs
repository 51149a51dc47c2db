//! A fake AWS endpoint: JSON over HTTP, with responses that the test scripts.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::{Gate, serve};

/// The response to a call.
#[derive(Clone, Debug)]
pub enum FakeResponse {
    /// Success, with this body.
    Success(Value),
    /// An error of the whole call, with this status and code.
    Error(u16, &'static str),
    /// Success, with this body, once the gate is open.
    After(Arc<Gate>, Value),
    /// The call never completes.
    Never,
    /// A response with truncated JSON.
    Malformed,
}

type Script = Box<dyn FnMut(&str, &Value) -> FakeResponse + Send>;

/// A local server that speaks the JSON protocols of AWS. It stops with the test's runtime.
#[derive(Clone)]
pub struct FakeAws {
    pub endpoint: String,
    calls: Arc<Mutex<Calls>>,
}

struct Calls {
    script: Script,
    received: Vec<(String, Value)>,
}

impl std::fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeAws").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl FakeAws {
    /// Starts a server. `script` gets the operation of each call, such as `PutEvents`, and its
    /// body.
    pub async fn start(script: impl FnMut(&str, &Value) -> FakeResponse + Send + 'static) -> Self {
        let calls = Calls { script: Box::new(script), received: Vec::new() };
        let calls = Arc::new(Mutex::new(calls));
        let router = Router::new().fallback(respond).with_state(Arc::clone(&calls));
        Self { endpoint: serve(router).await, calls }
    }

    /// The operations and bodies of all calls so far, in order.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// An SDK configuration that sends every call to this server.
    pub fn environment(&self) -> SdkConfig {
        aws_environment(&self.endpoint)
    }
}

/// An SDK configuration that sends every call to `endpoint`, with dummy credentials.
pub fn aws_environment(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "testkit");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

async fn respond(
    State(calls): State<Arc<Mutex<Calls>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let operation = target.unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let response = {
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.received.push((operation.clone(), sent.clone()));
        (calls.script)(&operation, &sent)
    };
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    match response {
        FakeResponse::Success(value) => (kind, value.to_string()).into_response(),
        FakeResponse::After(gate, value) => {
            gate.pass().await;
            (kind, value.to_string()).into_response()
        }
        FakeResponse::Error(status, code) => {
            let body = json!({"__type": code, "message": "planted"}).to_string();
            (StatusCode::from_u16(status).unwrap(), kind, body).into_response()
        }
        FakeResponse::Never => std::future::pending().await,
        FakeResponse::Malformed => (kind, "{\"Entries\": [{\"Ev").into_response(),
    }
}
