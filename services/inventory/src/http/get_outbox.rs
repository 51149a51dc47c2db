//! `GET /v1/admin/outbox`

use axum::extract::State;
use shared::http::auth::Operator;
use shared::http::problem::Problem;

use crate::App;
use crate::store::outbox::{self, Backlog};

/// Returns how many committed events are not published yet, and when the oldest was committed.
#[utoipa::path(
    get, path = "/v1/admin/outbox", tag = "operators", security(("bearer" = [])),
    responses(
        (status = 200, description = "The backlog", body = Backlog),
    ),
)]
pub(crate) async fn get_outbox(
    State(app): State<App>,
    Operator(_operator): Operator,
) -> Result<axum::Json<Backlog>, Problem> {
    Ok(axum::Json(outbox::backlog(&app.pool).await?))
}
