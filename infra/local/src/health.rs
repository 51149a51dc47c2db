//! Whether the process lives, whether it can work, and what it measures.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::bus::queue::Queue;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::metrics_recorder;

/// What health looks at.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) pool: PgPool,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) table: String,
    pub(crate) queue: Queue,
}

pub(crate) fn routes() -> OpenApiRouter<Health> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Whether the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "operators",
    responses((status = 200, description = "It does", body = str, content_type = "text/plain")),
)]
async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize, utoipa::ToSchema)]
struct Readiness {
    ready: bool,
    postgres: bool,
    dynamodb: bool,
}

/// Whether the stores answer.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "Both do", body = Readiness),
        (status = 503, description = "One does not", body = Readiness),
    ),
)]
async fn readyz(State(health): State<Health>) -> Response {
    let (postgres, dynamodb) = tokio::join!(
        sqlx::query("select 1").execute(&health.pool),
        health.dynamodb.describe_table().table_name(&health.table).send(),
    );
    let (postgres, dynamodb) = (postgres.is_ok(), dynamodb.is_ok());
    let ready = postgres && dynamodb;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(Readiness { ready, postgres, dynamodb })).into_response()
}

/// What the process measures, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operators",
    responses(
        (status = 200, description = "The metrics", body = str, content_type = "text/plain"),
    ),
)]
async fn metrics(State(health): State<Health>) -> Response {
    // While PostgreSQL is down, the rest is what somebody wants to see.
    if let Ok(depth) = health.queue.depth().await {
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
