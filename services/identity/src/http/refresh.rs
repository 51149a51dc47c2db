//! `POST /v1/auth/refresh`

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use shared::http::Json;
use shared::http::problem::{Problem, ProblemDocument};

use crate::App;
use crate::http::{INVALID_REFRESH_TOKEN, Tokens, grant, random};
use crate::sessions::{self as rules, Refusal};
use crate::store::sessions;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefreshToken)]
pub(crate) struct SentToken {
    pub(super) refresh_token: String,
}

/// Exchanges a refresh token for new tokens. Using a token twice ends its session, as it may be stolen.
#[utoipa::path(
    post, path = "/v1/auth/refresh", tag = "identity",
    request_body = SentToken,
    responses(
        (status = 200, description = "The next tokens of the session", body = Tokens),
        (status = 401, description = "The refresh token is not valid", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn refresh(
    State(app): State<App>,
    body: Json<SentToken>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let hash = rules::hash(&body.value.refresh_token);
    let next = rules::new_token(random()?, now);
    if let Some(user) = sessions::rotate(&app.pool, &hash, &next).await? {
        return grant(&app, &user, &next, now);
    }
    let stored = sessions::find_token(&app.pool, &hash).await?;
    if let Refusal::Reused { session_id } = rules::refuse(stored) {
        sessions::revoke(&app.pool, session_id, now).await?;
        metrics::counter!("vitrina_refresh_tokens_reused_total").increment(1);
        tracing::warn!(session.id = %session_id, "a refresh token was used twice, so its session was ended");
    }
    Err(INVALID_REFRESH_TOKEN.because(""))
}
