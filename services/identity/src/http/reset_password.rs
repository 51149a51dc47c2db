//! `POST /v1/auth/password/reset`

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use shared::config::Secret;
use shared::http::problem::{FieldError, Problem};
use shared::http::{Faults, Json};

use crate::App;
use crate::account::{Email, check_password};
use crate::attempts::Action;
use crate::codes::{self as rules, Purpose};
use crate::http::{INVALID_CODE, check_attempts, count_attempt};
use crate::store::{attempts, codes, sessions, users};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordReset)]
pub(crate) struct SentReset {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
    /// The six digits from the latest mail.
    #[schema(pattern = "^[0-9]{6}$", example = "012345")]
    code: String,
    /// The new password.
    #[schema(format = "password", min_length = 8, max_length = 128, example = "a long sentence")]
    password: String,
}

struct Reset {
    email: Email,
    code: String,
    password: Secret<String>,
}

impl Reset {
    fn parse(sent: SentReset) -> Result<Self, Vec<FieldError>> {
        let mut faults = Faults::default();
        let email = faults.check("/email", Email::parse(&sent.email));
        let password = faults.check("/password", check_password(sent.password));
        match (email, password) {
            (Some(email), Some(password)) => Ok(Self { email, code: sent.code, password }),
            _ => Err(faults.into_errors()),
        }
    }
}

/// Sets a new password with the mailed code, and ends every session of the account.
///
/// Access tokens that were issued before stay valid for the rest of their 15 minutes.
#[utoipa::path(
    post, path = "/v1/auth/password/reset", tag = "identity",
    request_body = SentReset,
    responses(
        (status = 204, description = "The new password is set and can be used to log in"),
    ),
)]
pub(crate) async fn reset_password(
    State(app): State<App>,
    body: Json<SentReset>,
) -> Result<StatusCode, Problem> {
    let purpose = Purpose::Reset;
    let reset = Reset::parse(body.value).map_err(Problem::invalid)?;
    let (email, now) = (reset.email, app.clock.now());
    check_attempts(&app, Action::Code, &email, now).await?;
    // Before the code is checked: a wrong code takes as long, and no transaction waits for the hash.
    let hash = app.passwords.hash(reset.password).await?;

    let mut transaction = app.pool.begin().await?;
    count_attempt(&mut *transaction, Action::Code, &email, now).await?;
    let stored = codes::count_try(&mut *transaction, purpose, &email).await?;
    let right = stored.filter(|stored| rules::is_right(stored, purpose, &email, &reset.code, now));
    let Some(code) = right else {
        // The failed attempt must stay counted.
        transaction.commit().await?;
        return Err(INVALID_CODE.because(""));
    };
    users::set_password(&mut *transaction, code.user_id, &hash).await?;
    sessions::revoke_all(&mut *transaction, code.user_id, now).await?;
    codes::delete(&mut *transaction, code.user_id, purpose).await?;
    attempts::clear(&mut *transaction, Action::Code, &email).await?;
    // Failed log-ins with the old password must not delay the first one with the new password.
    attempts::clear(&mut *transaction, Action::Login, &email).await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
