//! P16: the time of a Lambda function from its start to its first response.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{BUILD, Outcome, built_with};
use crate::edition::Edition;
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::setup::Setup;

pub(crate) const WHAT: &str = "cold start of each function: spawn to first response";

/// A function that does nothing: the lower limit of a cold start.
const LOWER_LIMIT: &str = "hello-function";

const ROUNDS: usize = 5;

/// A cold start that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A function and its first invocation.
struct ColdStart {
    what: &'static str,
    service: &'static str,
    process_role: &'static str,
    payload: Value,
    /// Whether the goal applies. Other cold starts are informative.
    is_judged: bool,
}

fn cold(
    what: &'static str,
    service: &'static str,
    process_role: &'static str,
    payload: Value,
) -> ColdStart {
    ColdStart { what, service, process_role, payload, is_judged: true }
}

/// A cold start with a first call to a store, which the goal excludes.
fn cold_with_store(
    what: &'static str,
    service: &'static str,
    process_role: &'static str,
    payload: Value,
) -> ColdStart {
    ColdStart { is_judged: false, ..cold(what, service, process_role, payload) }
}

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    setup.progress.now("P16: cold starts");
    let folder = built_with("function")?;
    let floor = built_with("release")?.join(LOWER_LIMIT);
    let needed = ["inventory", "catalog", "sync"].map(|name| folder.join(name));
    if !needed.iter().chain([&floor]).all(|binary| binary.is_file()) {
        return Ok(vec![absent()].into());
    }
    let edition = Edition::fresh(setup, "identity").await?;
    let functions = [
        cold("inventory, api", "inventory", "api", request("/v1/nothing")),
        cold("catalog, api", "catalog", "api", request("/v1/nothing")),
        cold("catalog, projector, no message", "catalog", "projector", json!({"Records": []})),
        cold("sync, api", "sync", "api", request("/v1/nothing")),
        cold_with_store(
            "catalog, api, one product read",
            "catalog",
            "api",
            request("/v1/catalog/products/01a200d2-7e0b-773f-a7fb-84bb977730fd"),
        ),
        cold_with_store("inventory, relay, empty outbox", "inventory", "relay", json!({})),
        cold_with_store("sync, reconcile, one slice", "sync", "reconcile", json!({})),
        cold_with_store("inventory, migrate, no new migration", "inventory", "migrate", json!({})),
        cold_with_store("sync, migrate, no new migration", "sync", "migrate", json!({})),
    ];
    let mut figures = Vec::new();
    for function in functions {
        let mut samples = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let floor = start(&floor, "", &edition, json!({})).await?;
            let binary = folder.join(function.service);
            let ours =
                start(&binary, function.process_role, &edition, function.payload.clone()).await?;
            samples.push(Sample::new(in_ms(floor), in_ms(ours)));
        }
        let bound = Bound::AtMost(Measure::Ratio, 10.0);
        figures.push(Figure {
            what: format!("cold start: {}", function.what),
            unit: "ms",
            bounds: function.is_judged.then_some(bound).into_iter().collect(),
            samples,
            note: None,
        });
    }
    Ok(figures.into())
}

fn in_ms(took: Duration) -> Stat {
    Stat::of(took.as_secs_f64() * 1_000.0)
}

/// The row without the binaries. Building them takes minutes, so a run does not do it.
fn absent() -> Figure {
    let build = format!("cargo build --release -p bench && {BUILD}");
    Figure {
        what: WHAT.to_owned(),
        unit: "ms",
        bounds: vec![Bound::AtMost(Measure::Ratio, 10.0)],
        samples: vec![],
        note: Some(format!("not measured: first run `{build}`")),
    }
}

/// The payload of an HTTP API, format 2.0.
fn request(path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {"host": "api.example.com"}, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "1", "apiId": "api", "domainName": "api.example.com",
            "domainPrefix": "api", "requestId": "id", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_800_000_000_000_i64,
            "http": {
                "method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "bench",
            },
        },
    })
}

/// A function's process. Dropping the value kills it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Runtime API with a single invocation, and a channel for its result.
struct Runtime {
    payload: Value,
    result: Mutex<Option<oneshot::Sender<bool>>>,
    given: Mutex<bool>,
}

/// Starts a function, and returns the time until its first response.
async fn start(
    binary: &Path,
    process_role: &str,
    edition: &Edition,
    payload: Value,
) -> anyhow::Result<Duration> {
    let (sender, receiver) = oneshot::channel();
    let result = Mutex::new(Some(sender));
    let runtime = Runtime { payload, result, given: Mutex::new(false) };
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(succeeded))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
        .with_state(Arc::new(runtime));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let api = listener.local_addr()?.to_string();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let begun = Instant::now();
    let _process = Process(spawn(&binary.to_owned(), process_role, edition, &api)?);
    let result = tokio::time::timeout(TIMEOUT, receiver).await;
    let took = begun.elapsed();
    serving.abort();
    let what = || format!("{} as {process_role:?}", binary.display());
    anyhow::ensure!(result.with_context(what)??, "{} failed", what());
    Ok(took)
}

fn spawn(
    binary: &PathBuf,
    process_role: &str,
    edition: &Edition,
    api: &str,
) -> anyhow::Result<Child> {
    Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "function")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL_DYNAMODB", &edition.dynamodb_url)
        .env("DATABASE_URL", &edition.database)
        .env("VITRINA_ROLE", process_role)
        .env("VITRINA_EVENT_BUS", "shop")
        .env("VITRINA_LISTINGS_TABLE", vitrina::edition::TABLE)
        .env("VITRINA_QUEUE_URL", "http://127.0.0.1:1/1/catalog")
        .env("VITRINA_DEAD_LETTER_QUEUE_URL", "http://127.0.0.1:1/1/catalog-dead")
        .env("VITRINA_QUEUE_URL_CATALOG", "http://127.0.0.1:1/1/catalog")
        .env("VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG", "http://127.0.0.1:1/1/catalog-dead")
        .env("VITRINA_AUTH_ISSUER", "https://identity.example")
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("running {}", binary.display()))
}

async fn next(State(runtime): State<Arc<Runtime>>) -> Response<Body> {
    let is_first = {
        let mut given = runtime.given.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut *given, true)
    };
    if !is_first {
        return std::future::pending().await;
    }
    #[expect(clippy::disallowed_methods, reason = "the function reads the clock of the machine")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Response::builder()
        .header("lambda-runtime-aws-request-id", "1")
        .header("lambda-runtime-deadline-ms", (now + TIMEOUT).as_millis().to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:f")
        .header("content-type", "application/json")
        .body(Body::from(runtime.payload.to_string()))
        .unwrap_or_default()
}

async fn succeeded(State(runtime): State<Arc<Runtime>>) -> StatusCode {
    settle(&runtime, true)
}

async fn failed(State(runtime): State<Arc<Runtime>>) -> StatusCode {
    settle(&runtime, false)
}

fn settle(runtime: &Runtime, is_good: bool) -> StatusCode {
    let waiting = runtime.result.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(waiting) = waiting {
        let _ = waiting.send(is_good);
    }
    StatusCode::ACCEPTED
}
