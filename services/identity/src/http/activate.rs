//! `POST /v1/auth/activate`

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use shared::http::Json;
use shared::http::problem::Problem;

use crate::App;
use crate::attempts::Action;
use crate::codes::{self as rules, Purpose};
use crate::http::{INVALID_CODE, count_attempt, parse_email};
use crate::store::{attempts, codes, users};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Activation)]
pub(crate) struct SentActivation {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
    /// The six digits from the latest mail.
    #[schema(pattern = "^[0-9]{6}$", example = "012345")]
    code: String,
}

/// Activates an account with the mailed code.
#[utoipa::path(
    post, path = "/v1/auth/activate", tag = "identity",
    request_body = SentActivation,
    responses(
        (status = 204, description = "The account is active and can log in"),
    ),
)]
pub(crate) async fn activate(
    State(app): State<App>,
    body: Json<SentActivation>,
) -> Result<StatusCode, Problem> {
    let purpose = Purpose::Activation;
    let email = parse_email(&body.value.email)?;
    let now = app.clock.now();

    let mut transaction = app.pool.begin().await?;
    count_attempt(&mut *transaction, Action::Code, &email, now).await?;
    let stored = codes::count_try(&mut *transaction, purpose, &email).await?;
    let right =
        stored.filter(|stored| rules::is_right(stored, purpose, &email, &body.value.code, now));
    let Some(code) = right else {
        // The failed attempt must stay counted.
        transaction.commit().await?;
        return Err(INVALID_CODE.because(""));
    };
    users::activate(&mut *transaction, code.user_id, now).await?;
    codes::delete(&mut *transaction, code.user_id, purpose).await?;
    attempts::clear(&mut *transaction, Action::Code, &email).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
