//! `GET /v1/admin/reconciliations/{id}`

use axum::extract::State;
use shared::http::PathId;
use shared::http::auth::Operator;
use shared::http::problem::Problem;
use shared::id::RunId;

use crate::App;
use crate::store::runs::{self, Run};

/// Reads the progress and the findings of a reconciliation.
#[utoipa::path(
    get, path = "/v1/admin/reconciliations/{id}", tag = "operators", security(("bearer" = [])),
    params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The reconciliation", body = Run),
    ),
)]
pub(crate) async fn get_reconciliation(
    State(app): State<App>,
    Operator(_operator): Operator,
    PathId(id): PathId<RunId>,
) -> Result<axum::Json<Run>, Problem> {
    let run = runs::find(&app.pool, id).await?;
    run.map(axum::Json).ok_or_else(Problem::not_found)
}
