//! `GET /v1/admin/queues`

use axum::extract::State;
use serde::Serialize;
use shared::auth::Operator;
use shared::bus::queue::QueueDepth;
use shared::problem::{Problem, ProblemDocument};

use super::Ops;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Queues {
    data: Vec<QueueDepth>,
}

/// How deep the queues are.
#[utoipa::path(
    get, path = "/v1/admin/queues", tag = "operators", security(("bearer" = [])),
    responses(
        (status = 200, description = "The queues", body = Queues),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list_queues(
    State(ops): State<Ops>,
    Operator(_operator): Operator,
) -> Result<axum::Json<Queues>, Problem> {
    Ok(axum::Json(Queues { data: vec![ops.queue.depth().await?] }))
}
