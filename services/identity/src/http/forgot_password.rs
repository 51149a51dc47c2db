//! `POST /v1/auth/password/forgot`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::http::Json;
use shared::http::problem::Problem;

use crate::App;
use crate::account::Email;
use crate::attempts::Action;
use crate::codes::{self as rules, Purpose};
use crate::http::{MAIL_SENT, MailSent, count_attempt, parse_email, random};
use crate::mail::Mail;
use crate::store::codes;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgottenPassword)]
pub(crate) struct SentEmail {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
}

/// Requests a code for setting a new password. It is mailed if the account is active.
///
/// The response is the same whether or not the address has an account.
#[utoipa::path(
    post, path = "/v1/auth/password/forgot", tag = "identity",
    request_body = SentEmail,
    responses(
        (status = 202, description = "The mail is on its way", body = MailSent),
    ),
)]
pub(crate) async fn forgot_password(
    State(app): State<App>,
    body: Json<SentEmail>,
) -> Result<Response, Problem> {
    let email = parse_email(&body.value.email)?;
    let now = app.clock.now();
    count_attempt(&app.pool, Action::Mail, &email, now).await?;
    // Done in the background: no slow hash here hides the extra work for an existing account.
    app.background.clone().spawn(async move {
        if let Err(problem) = send_code(&app, email, now).await {
            problem.log();
        }
    });
    Ok((StatusCode::ACCEPTED, axum::Json(&MAIL_SENT)).into_response())
}

async fn send_code(app: &App, email: Email, now: DateTime<Utc>) -> Result<(), Problem> {
    let code = rules::from_random(random()?);
    let hash = rules::hash(Purpose::Reset, &email, &code);
    if codes::put_reset(&app.pool, &email, &hash, now + rules::LIFETIME).await? {
        app.mailer.send(&email, &Mail::Reset { code }, now).await;
    }
    Ok(())
}
