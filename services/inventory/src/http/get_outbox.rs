//! `GET /v1/admin/outbox`

use axum::extract::State;
use shared::http::auth::Operator;
use shared::http::problem::{Problem, ProblemDocument};

use crate::App;
use crate::store::outbox::{self, Backlog};

/// How many committed events still have to be published, and since when the oldest waits.
#[utoipa::path(
    get, path = "/v1/admin/outbox", tag = "operators", security(("bearer" = [])),
    responses(
        (status = 200, description = "The backlog", body = Backlog),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get_outbox(
    State(app): State<App>,
    Operator(_operator): Operator,
) -> Result<axum::Json<Backlog>, Problem> {
    Ok(axum::Json(outbox::backlog(&app.pool).await?))
}
