//! `POST /v1/admin/dead-letters/redrive`

use axum::extract::State;
use shared::bus::selection::Action;
use shared::http::Json;
use shared::http::auth::Operator;
use shared::http::problem::Problem;

use super::dead_letter_selection::{DeadLetterSelection, SettledDeadLetters, settle};
use crate::App;

/// Puts dead letters back into their queue.
#[utoipa::path(
    post, path = "/v1/admin/dead-letters/redrive", tag = "operators",
    security(("bearer" = [])), request_body = DeadLetterSelection,
    responses(
        (status = 200, description = "How many were matched and settled", body = SettledDeadLetters),
    ),
)]
pub(crate) async fn redrive_dead_letters(
    State(app): State<App>,
    Operator(operator): Operator,
    body: Json<DeadLetterSelection>,
) -> Result<axum::Json<SettledDeadLetters>, Problem> {
    settle(&app, operator, body.value, Action::Redrive).await
}
