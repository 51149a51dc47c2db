//! `GET /v1/admin/dead-letters/{id}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use shared::bus::selection::DeadLetter;
use shared::http::auth::Operator;
use shared::http::problem::Problem;

use crate::App;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct WholeDeadLetter {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The message as it was received.
    body: String,
}

/// Reads one dead letter with its message.
#[utoipa::path(
    get, path = "/v1/admin/dead-letters/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses(
        (status = 200, description = "The dead letter", body = WholeDeadLetter),
    ),
)]
pub(crate) async fn get_dead_letter(
    State(app): State<App>,
    Operator(_operator): Operator,
    id: Result<Path<i64>, PathRejection>,
) -> Result<axum::Json<WholeDeadLetter>, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found())?;
    let (letter, body) = app.dead_letters.find(id).await?.ok_or_else(Problem::not_found)?;
    Ok(axum::Json(WholeDeadLetter { letter, body }))
}
