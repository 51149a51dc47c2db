//! `POST /v1/auth/password/forgot`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use shared::door::Json;
use shared::problem::{Problem, ProblemDocument};

use crate::App;
use crate::attempts::Action;
use crate::codes::{self as rules, Purpose};
use crate::http::{MAIL_SENT, MailSent, count_attempt, parse_email, random};
use crate::mail::Letter;
use crate::store::codes;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForgottenPassword)]
pub(crate) struct SentEmail {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
}

/// Asks for a code to set another password with. It comes by mail, if the account is active.
///
/// The answer is the same whether or not the address has an account.
#[utoipa::path(
    post, path = "/v1/auth/password/forgot", tag = "identity",
    request_body = SentEmail,
    responses(
        (status = 202, description = "A mail is on its way", body = MailSent),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn forgot_password(
    State(app): State<App>,
    body: Json<SentEmail>,
) -> Result<Response, Problem> {
    let email = parse_email(&body.value.email)?;
    let now = app.clock.now();
    let code = rules::from_random(random()?);
    let hash = rules::hash(Purpose::Reset, &email, &code);

    let mut transaction = app.pool.begin().await?;
    count_attempt(&mut *transaction, Action::Mail, &email, now).await?;
    let expires_at = now + rules::LIFETIME;
    let is_active = codes::put_reset(&mut *transaction, &email, &hash, expires_at).await?;
    transaction.commit().await?;

    if is_active {
        app.mailer.send(email, Letter::Reset { code }, now);
    }
    Ok((StatusCode::ACCEPTED, axum::Json(&MAIL_SENT)).into_response())
}
