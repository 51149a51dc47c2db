//! `POST /v1/auth/login`

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use shared::config::Secret;
use shared::http::Json;
use shared::http::problem::{Problem, ProblemDocument};

use crate::App;
use crate::attempts::Action;
use crate::http::{INVALID_CREDENTIALS, Tokens, check_attempts, grant, parse_email, random};
use crate::sessions as rules;
use crate::store::{attempts, sessions, users};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogIn)]
pub(crate) struct SentLogin {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
    #[schema(format = "password", example = "a long sentence")]
    password: String,
}

/// Logs in. After ten failures with an address, log-ins with it are refused for up to 15 minutes.
#[utoipa::path(
    post, path = "/v1/auth/login", tag = "identity",
    request_body = SentLogin,
    responses(
        (status = 200, description = "The tokens of a new session", body = Tokens),
        (status = 401, description = "Wrong email address or password", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn login(
    State(app): State<App>,
    body: Json<SentLogin>,
) -> Result<Response, Problem> {
    let email = parse_email(&body.value.email)?;
    let now = app.clock.now();
    check_attempts(&app, Action::Login, &email, now).await?;
    let found = users::find_credentials(&app.pool, &email).await?;
    let hash = found.as_ref().map(|found| found.password_hash.clone());
    let password = Secret::new(body.value.password);
    let is_right = app.passwords.verify(password, hash).await?;
    let Some(found) = found.filter(|found| is_right && found.is_active) else {
        attempts::count(&app.pool, Action::Login, &email, now).await?;
        return Err(INVALID_CREDENTIALS.because(""));
    };
    // Checked again: of many guesses sent at once, none had failed at the first check.
    check_attempts(&app, Action::Login, &email, now).await?;

    let token = rules::new_token(random()?, now);
    let (session_id, user) = (app.ids.next(now), found.user);
    let mut transaction = app.pool.begin().await?;
    let begun =
        sessions::begin(&mut *transaction, session_id, user.id, &found.password_hash, &token)
            .await?;
    if !begun {
        // The password was changed in the meantime.
        return Err(INVALID_CREDENTIALS.because(""));
    }
    attempts::clear(&mut *transaction, Action::Login, &email).await?;
    transaction.commit().await?;
    grant(&app, &user, &token, now)
}
