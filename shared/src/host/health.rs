//! Liveness, readiness and metrics of a process.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::future::{BoxFuture, FutureExt as _, OptionFuture};
use serde::Serialize;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bus::postgres::Queue;
use crate::dynamodb::Item;
use crate::host::metrics_recorder;

/// The stores that the process depends on, and its queues.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub postgres: Option<Arc<dyn Probe>>,
    pub dynamodb: Option<Arc<dyn Probe>>,
    pub queues: Vec<Queue>,
}

/// A store whose availability can be checked.
pub trait Probe: fmt::Debug + Send + Sync {
    fn responds(&self) -> BoxFuture<'_, bool>;
}

/// A table, with the key of an item that is read to see whether DynamoDB responds.
#[derive(Clone, Debug)]
pub struct Table {
    pub client: aws_sdk_dynamodb::Client,
    pub name: String,
    pub probe: Item,
}

impl Probe for PgPool {
    fn responds(&self) -> BoxFuture<'_, bool> {
        async move { sqlx::query("select 1").execute(self).await.is_ok() }.boxed()
    }
}

impl Probe for Table {
    fn responds(&self) -> BoxFuture<'_, bool> {
        // Not DescribeTable: the local store counts every item for it.
        let look = self.client.get_item().table_name(&self.name);
        async move { look.set_key(Some(self.probe.clone())).send().await.is_ok() }.boxed()
    }
}

pub fn routes() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Reports that the process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "operators",
    responses((status = 200, description = "The process is alive", body = str, content_type = "text/plain")),
)]
async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize, utoipa::ToSchema)]
struct Readiness {
    ready: bool,
    /// Whether the store responds. Absent if the process does not use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<bool>,
    /// Whether the store responds. Absent if the process does not use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    dynamodb: Option<bool>,
}

/// Reports whether the stores respond.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "All stores respond", body = Readiness),
        (status = 503, description = "At least one store does not respond", body = Readiness),
    ),
)]
async fn readyz(State(health): State<Health>) -> Response {
    let [postgres, dynamodb] = [&health.postgres, &health.dynamodb]
        .map(|store| OptionFuture::from(store.as_ref().map(|store| store.responds())));
    let (postgres, dynamodb) = tokio::join!(postgres, dynamodb);
    let ready = [postgres, dynamodb].into_iter().flatten().all(|responds| responds);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, postgres, dynamodb })).into_response()
}

/// Returns the metrics of the process in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operators",
    responses(
        (status = 200, description = "The metrics", body = str, content_type = "text/plain"),
    ),
)]
async fn metrics(State(health): State<Health>) -> Response {
    // While PostgreSQL is down, the other metrics are still served.
    for queue in &health.queues {
        // Each attempt would wait for a connection.
        let Ok(depth) = queue.depth().await else { break };
        let set = |name: &'static str, value: i64| {
            metrics::gauge!(name, "queue" => depth.queue.clone()).set(count(value));
        };
        set("vitrina_queue_visible", depth.visible);
        set("vitrina_queue_in_flight", depth.in_flight);
        set("vitrina_dead_letters", depth.dead_letters);
    }
    let body = metrics_recorder::recorder().render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a double, and these are small")]
fn count(value: i64) -> f64 {
    value as f64
}
