//! `POST /v1/auth/signup`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use shared::database;
use shared::http::Json;
use shared::http::problem::{Problem, ProblemDocument};

use crate::App;
use crate::account::{SentSignup, Signup};
use crate::attempts::Action;
use crate::codes::{self, Purpose};
use crate::http::{MAIL_SENT, MailSent, check_attempts, count_attempt, random};
use crate::mail::Letter;
use crate::store::users::{self, NewUser, SignedUp};

/// Signs up. A mail brings the code that activates the account; ask again, and another comes.
///
/// The answer is the same whether or not the address has an account.
#[utoipa::path(
    post, path = "/v1/auth/signup", tag = "identity",
    request_body = SentSignup,
    responses(
        (status = 202, description = "A mail is on its way", body = MailSent),
        (status = "default", description = "A problem", body = ProblemDocument,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn signup(
    State(app): State<App>,
    body: Json<SentSignup>,
) -> Result<Response, Problem> {
    let signup = Signup::parse(body.value).map_err(Problem::invalid)?;
    let now = app.clock.now();
    check_attempts(&app, Action::Mail, &signup.email, now).await?;
    let hash = app.passwords.hash(signup.password.clone()).await?;
    let code = codes::from_random(random()?);
    let code_hash = codes::hash(Purpose::Activation, &signup.email, &code);
    let user = NewUser::new(&signup, app.ids.next(now), &hash, now);

    let mut transaction = database::begin(&app.pool).await?;
    count_attempt(&mut *transaction, Action::Mail, &signup.email, now).await?;
    let expires_at = now + codes::LIFETIME;
    let signed_up = users::claim(&mut *transaction, &user, &code_hash, expires_at).await?;
    transaction.commit().await?;

    let letter = match signed_up {
        SignedUp::Pending { again } => Letter::Activation { code, again },
        SignedUp::AlreadyActive => Letter::AlreadyActive,
    };
    app.mailer.send(signup.email, letter, now);
    Ok((StatusCode::ACCEPTED, axum::Json(&MAIL_SENT)).into_response())
}
