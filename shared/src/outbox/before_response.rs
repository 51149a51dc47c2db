//! Publishes before the response, for a function: it is frozen once it has responded.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::{Outbox, Relay};
use crate::bus::Publish;
use crate::telemetry;

/// Maximum number of events published before a response. The scheduled relay publishes the others.
const BATCH: i64 = 10;

/// Publishes the event of a write before the response. If that fails, the scheduled relay publishes
/// it.
pub fn publish_before_responses<O: Outbox, B: Publish>(api: Router, relay: Relay<O, B>) -> Router {
    api.layer(from_fn_with_state(relay, publish_first::<O, B>))
}

async fn publish_first<O: Outbox, B: Publish>(
    State(relay): State<Relay<O, B>>,
    request: Request,
    next: Next,
) -> Response {
    let is_write = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let response = next.run(request).await;
    if is_write && response.status().is_success() {
        match tokio::time::timeout(relay.timeouts.response, relay.round(BATCH)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => telemetry::failed("relay before the response", &error),
            Err(_) => tracing::debug!("a response did not wait for its event to be published"),
        }
    }
    response
}
