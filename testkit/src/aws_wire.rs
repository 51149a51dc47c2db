//! A fake AWS endpoint: JSON over HTTP, with responses that the test scripts.

use std::net::SocketAddr;
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

/// The response to a call.
#[derive(Clone, Debug)]
pub enum WireAnswer {
    /// Success, with this body.
    Fine(Value),
    /// An error of the whole call, with this status and code.
    Refused(u16, &'static str),
    /// No response: the call never completes.
    Silence,
    /// A response with truncated JSON.
    Garbage,
}

type Script = Box<dyn FnMut(&str, &Value) -> WireAnswer + Send>;

/// A local server that speaks the JSON protocols of AWS. It stops with the test's runtime.
#[derive(Clone)]
pub struct AwsWire {
    pub endpoint: String,
    state: Arc<Mutex<Wire>>,
}

struct Wire {
    script: Script,
    calls: Vec<(String, Value)>,
}

impl std::fmt::Debug for AwsWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsWire").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl AwsWire {
    /// Starts a server. `script` gets the operation of each call, such as `PutEvents`, and its
    /// body.
    pub async fn start(script: impl FnMut(&str, &Value) -> WireAnswer + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let wire = Wire { script: Box::new(script), calls: Vec::new() };
        let state = Arc::new(Mutex::new(wire));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { endpoint: format!("http://{address}"), state }
    }

    /// The operations and bodies of all calls so far, in order.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
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

async fn answer(
    State(state): State<Arc<Mutex<Wire>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let operation = target.unwrap_or_default().rsplit('.').next().unwrap_or_default().to_owned();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = {
        let mut wire = state.lock().unwrap_or_else(PoisonError::into_inner);
        wire.calls.push((operation.clone(), sent.clone()));
        (wire.script)(&operation, &sent)
    };
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    match answer {
        WireAnswer::Fine(value) => (kind, value.to_string()).into_response(),
        WireAnswer::Refused(status, code) => {
            let body = json!({"__type": code, "message": "planted"}).to_string();
            (StatusCode::from_u16(status).unwrap(), kind, body).into_response()
        }
        WireAnswer::Silence => std::future::pending().await,
        WireAnswer::Garbage => (kind, "{\"Entries\": [{\"Ev").into_response(),
    }
}
