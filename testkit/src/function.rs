//! Runs a Lambda binary against a local Runtime API.

use std::collections::HashMap;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};

use crate::{MAX_WAIT, eventually, serve};

/// Timeout of an invocation, as reported to the function: longer than any test waits for it.
const INVOCATION_TIMEOUT: Duration = Duration::from_mins(10);

type Responses = Mutex<HashMap<String, oneshot::Sender<Result<Value, Value>>>>;

struct Invocation {
    id: String,
    payload: Value,
}

struct Runtime {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    responses: Responses,
}

/// A running function. Killed when dropped.
pub struct Function {
    child: Child,
    invocations: mpsc::UnboundedSender<Invocation>,
    runtime: Arc<Runtime>,
    /// Files, not pipes: output that precedes a response can be read once the response has arrived.
    written: NamedTempFile,
    logged: NamedTempFile,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("child", &self.child).finish_non_exhaustive()
    }
}

/// The response of a function to an HTTP request.
#[derive(Debug)]
pub struct FunctionResponse {
    pub status: u64,
    pub headers: Value,
    pub body: String,
}

impl FunctionResponse {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

impl Function {
    /// Starts the program at `path` with only these settings and the variables that Lambda sets.
    pub async fn start(path: &str, settings: &[(&str, &str)]) -> Self {
        let (invocations, queue) = mpsc::unbounded_channel();
        let queue = tokio::sync::Mutex::new(queue);
        let runtime = Arc::new(Runtime { queue, responses: Mutex::default() });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(succeeded))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(Arc::clone(&runtime));
        let url = serve(router).await;
        let api = url.trim_start_matches("http://");
        let (written, logged) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
        let child = Command::new(path)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "function")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(written.reopen().unwrap())
            .stderr(logged.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, invocations, runtime, written, logged }
    }

    /// Invokes the function. Returns its response or its error.
    pub async fn invoke(&mut self, payload: Value) -> Result<Value, Value> {
        let (sender, mut receiver) = oneshot::channel();
        let id = uuid::Uuid::from_u128(rand::random()).to_string();
        let responses = &self.runtime.responses;
        responses.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        self.invocations.send(Invocation { id, payload }).unwrap();
        // Real time: the limit ends a hang, and the other one is only a pause.
        let begun = tokio::time::Instant::now();
        loop {
            // Real time: only a pause.
            let waited = tokio::time::timeout(Duration::from_millis(100), &mut receiver).await;
            if let Ok(response) = waited {
                return response.unwrap();
            }
            let exited = self.child.try_wait().unwrap();
            assert!(exited.is_none(), "the function exited: {}", self.log());
            assert!(begun.elapsed() < MAX_WAIT, "the function does not respond: {}", self.log());
        }
    }

    /// Invokes the function with an HTTP request, as an HTTP API does (payload 2.0).
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> FunctionResponse {
        let (raw_path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut all = serde_json::Map::new();
        all.insert("host".to_owned(), "api.example.com".into());
        for (name, value) in headers {
            all.insert((*name).to_owned(), (*value).into());
        }
        let response = self
            .invoke(json!({
                "version": "2.0", "routeKey": "$default", "rawPath": raw_path,
                "rawQueryString": query, "headers": all, "isBase64Encoded": true,
                "body": STANDARD.encode(body),
                "requestContext": {
                    "accountId": "1", "apiId": "api", "domainName": "api.example.com",
                    "domainPrefix": "api", "requestId": "id", "routeKey": "$default",
                    "stage": "$default", "time": "12/Mar/2026:19:03:58 +0000",
                    "timeEpoch": 1_800_000_000_000_i64,
                    "http": {
                        "method": method, "path": raw_path, "protocol": "HTTP/1.1",
                        "sourceIp": "192.0.2.1", "userAgent": "a test",
                    },
                },
            }))
            .await
            .unwrap();
        let body = response["body"].as_str().unwrap_or_default();
        let body = if response["isBase64Encoded"] == true {
            String::from_utf8(STANDARD.decode(body).unwrap()).unwrap()
        } else {
            body.to_owned()
        };
        let status = response["statusCode"].as_u64().unwrap();
        FunctionResponse { status, headers: response["headers"].clone(), body }
    }

    /// Waits for the process to exit.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        eventually("the function exits", async || self.child.try_wait().unwrap()).await
    }

    /// The values of a metric that the function has written so far.
    pub fn metric(&self, name: &str) -> Vec<Value> {
        let written = std::fs::read_to_string(self.written.path()).unwrap();
        let lines = written.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line.get(name).cloned()).collect()
    }

    /// The log that the function has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.logged.path()).unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response<Body> {
    let Some(Invocation { id, payload }) = runtime.queue.lock().await.recv().await else {
        return std::future::pending().await;
    };
    #[expect(clippy::disallowed_methods, reason = "the deadline of Lambda is wall-clock time")]
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + INVOCATION_TIMEOUT;
    Response::builder()
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:f")
        .header("content-type", "application/json")
        .body(Body::from(payload.to_string()))
        .unwrap()
}

async fn succeeded(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    settle(&runtime, &id, Ok(serde_json::from_slice(&body).unwrap_or_default()))
}

async fn failed(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    settle(&runtime, &id, Err(serde_json::from_slice(&body).unwrap_or_default()))
}

fn settle(runtime: &Runtime, id: &str, response: Result<Value, Value>) -> StatusCode {
    let mut responses = runtime.responses.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(waiting) = responses.remove(id) {
        let _ = waiting.send(response);
    }
    StatusCode::ACCEPTED
}
