//! Spans over OTLP: one trace from a seller's request to the listing.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use serde_json::json;
use testkit::{eventually, serve};

use crate::openapi::send;
use crate::process::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The bodies of all exports that a collector received.
type Exports = Arc<Mutex<Vec<Bytes>>>;

async fn collector() -> (String, Exports) {
    let exports = Exports::default();
    let receive = |State(exports): State<Exports>, body: Bytes| async move {
        exports.lock().unwrap().push(body);
    };
    let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&exports));
    (serve(router).await, exports)
}

fn contains(export: &[u8], wanted: &[u8]) -> bool {
    export.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether a span of this name belongs to the trace. Protobuf leaves both as plain bytes, and a span
/// begins with its trace id.
fn has_span(exports: &Exports, name: &str) -> bool {
    let trace: Vec<u8> =
        (0..16).map(|n| u8::from_str_radix(&TRACE[2 * n..2 * n + 2], 16).unwrap()).collect();
    exports.lock().unwrap().iter().any(|export| {
        let mut rest = &export[..];
        while let Some(at) = rest.windows(16).position(|window| window == trace) {
            // The name follows within a hundred bytes of the trace id.
            let span = &rest[at..rest.len().min(at + 100)];
            if contains(span, name.as_bytes()) {
                return true;
            }
            rest = &rest[at + 16..];
        }
        false
    })
}

#[tokio::test]
async fn request_and_its_projection_share_one_trace() {
    let data = tempfile::tempdir().unwrap();
    let (url, exports) = collector().await;
    // Only its end exports what it has: the next export by time would be in an hour.
    let settings =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let process = Process::start_with(data.path(), &settings).await;
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    let create = http
        .post(format!("{}/v1/products", process.url))
        .bearer_auth(token)
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .json(&json!({
            "sku": "A", "name": "A", "category": "things", "price": {"amount": 1, "currency": "BRL"}
        }));
    let created = send(create).await;
    assert_eq!(created.status, 201);
    let id = created.json["id"].as_str().unwrap().to_owned();
    eventually("the listing", async || {
        let listing = http.get(format!("{}/v1/catalog/products/{id}", process.url));
        (send(listing).await.status == 200).then_some(())
    })
    .await;
    process.terminate().await;
    for span in ["request", "project"] {
        assert!(has_span(&exports, span), "{span} was not exported");
    }
}

#[tokio::test]
async fn requests_and_shutdown_succeed_without_a_collector() {
    let data = tempfile::tempdir().unwrap();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let process = Process::start_with(data.path(), &settings).await;
    let list = reqwest::Client::new().get(format!("{}/v1/catalog/products", process.url));
    assert_eq!(send(list).await.status, 200);
    process.terminate().await;
}
