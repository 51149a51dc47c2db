//! `POST /v1/auth/logout`

use axum::extract::State;
use axum::http::StatusCode;
use shared::http::Json;
use shared::http::problem::Problem;

use crate::App;
use crate::http::refresh::SentToken;
use crate::sessions as rules;
use crate::store::sessions;

/// Ends the session of a refresh token. The response is the same if there is no such session.
///
/// The access token stays valid for the rest of its 15 minutes.
#[utoipa::path(
    post, path = "/v1/auth/logout", tag = "identity",
    request_body = SentToken,
    responses(
        (status = 204, description = "The session has ended"),
    ),
)]
pub(crate) async fn logout(
    State(app): State<App>,
    body: Json<SentToken>,
) -> Result<StatusCode, Problem> {
    let hash = rules::hash(&body.value.refresh_token);
    if let Some(token) = sessions::find_token(&app.pool, &hash).await? {
        sessions::revoke(&app.pool, token.session_id, app.clock.now()).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
