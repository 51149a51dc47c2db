//! `GET /v1/admin/queues`

use axum::extract::State;
use serde::{Deserialize, Serialize};
use shared::bus::message::QueueDepth;
use shared::http::auth::Operator;
use shared::http::problem::Problem;

use crate::App;

/// The depth of every queue.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Queues {
    pub data: Vec<QueueDepth>,
}

/// Reads how many messages the queues hold.
#[utoipa::path(
    get, path = "/v1/admin/queues", tag = "operators", security(("bearer" = [])),
    responses(
        (status = 200, description = "The queues", body = Queues),
    ),
)]
pub(crate) async fn list_queues(
    State(app): State<App>,
    Operator(_operator): Operator,
) -> Result<axum::Json<Queues>, Problem> {
    Ok(axum::Json(Queues { data: app.dead_letters.depths().await? }))
}
