//! `POST /v1/admin/reconciliations`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::http::Json;
use shared::http::auth::Operator;
use shared::http::problem::Problem;

use crate::App;
use crate::store::runs::{self, Run};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedReconciliation {
    /// Whether to hash the stored documents themselves again instead of trusting their stored hashes.
    #[serde(default)]
    deep: bool,
}

/// Requests a comparison of all products with their listings, and the repair of every difference.
///
/// It runs at full speed, after the reconciliations requested before it, and supersedes the background
/// pass.
#[utoipa::path(
    post, path = "/v1/admin/reconciliations", tag = "operators", security(("bearer" = [])),
    request_body = WantedReconciliation,
    responses(
        (status = 202, description = "Accepted; `Location` shows the progress", body = Run,
            headers(("Location"))),
    ),
)]
pub(crate) async fn request_reconciliation(
    State(app): State<App>,
    Operator(operator): Operator,
    Json { value: WantedReconciliation { deep }, .. }: Json<WantedReconciliation>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let id = app.ids.next(now);
    runs::request(&app.pool, id, operator, deep, now).await?;
    let run = runs::find(&app.pool, id).await?.ok_or_else(Problem::not_found)?;
    app.requested.notify_one();
    let location = format!("/v1/admin/reconciliations/{id}");
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, headers, axum::Json(run)).into_response())
}
