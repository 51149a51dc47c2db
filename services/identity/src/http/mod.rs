//! The provider's API: one file per endpoint.

mod activate;
mod forgot_password;
mod jwks;
mod login;
mod logout;
mod openid_configuration;
mod refresh;
mod reset_password;
mod signup;

use std::borrow::Cow;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::http::problem::{self, FieldError, Kind, Problem};
use sqlx::PgExecutor;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::account::Email;
use crate::attempts::{self as rules, Action, Window};
use crate::keys::ACCESS_LIFETIME;
use crate::sessions::NewToken;
use crate::store::attempts;
use crate::store::users::User;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(signup::signup))
        .routes(routes!(activate::activate))
        .routes(routes!(login::login))
        .routes(routes!(refresh::refresh))
        .routes(routes!(logout::logout))
        .routes(routes!(forgot_password::forgot_password))
        .routes(routes!(reset_password::reset_password))
        .routes(routes!(jwks::jwks))
        .routes(routes!(openid_configuration::openid_configuration))
}

/// Paths that hash a password or check a code. They use the most CPU, so that callers are limited more
/// tightly there.
pub const EXPENSIVE_PATHS: &[&str] = &[
    "/v1/auth/signup",
    "/v1/auth/activate",
    "/v1/auth/login",
    "/v1/auth/password/forgot",
    "/v1/auth/password/reset",
];

/// The kinds of problems that only this service returns.
pub static PROBLEMS: &[&Kind] = &[&INVALID_CREDENTIALS, &INVALID_REFRESH_TOKEN, &INVALID_CODE];

static INVALID_CREDENTIALS: Kind = Kind {
    code: "invalid_credentials",
    status: 401,
    title: "Wrong email address or password",
    explanation: "No active account has this address and this password. The response does not reveal \
                  which of the two is wrong, or whether the account still has to be activated. Reset a \
                  forgotten password with `POST /v1/auth/password/forgot`. If there is no account, or \
                  it was never activated, use `POST /v1/auth/signup`.",
};

static INVALID_REFRESH_TOKEN: Kind = Kind {
    code: "invalid_refresh_token",
    status: 401,
    title: "The refresh token is not valid",
    explanation: "The token is unknown, has expired or was exchanged before, or its session has ended. \
                  A refresh token is valid for one exchange: keep the new one from the response. Using \
                  a token twice ends the session. Log in again.",
};

static INVALID_CODE: Kind = Kind {
    code: "invalid_code",
    status: 422,
    title: "The code is not valid",
    explanation: "The code is wrong, older than 15 minutes, replaced by a newer one, or was tried five \
                  times. Request a new one: sign up again, or use `POST /v1/auth/password/forgot`.",
};

/// The tokens of a session.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tokens {
    pub access_token: String,
    #[schema(example = "Bearer")]
    pub token_type: Cow<'static, str>,
    /// Lifetime of the access token in seconds.
    #[schema(example = 900)]
    pub expires_in: i64,
    /// Valid for 30 days and for one exchange.
    pub refresh_token: String,
}

/// Returns tokens in a response that no cache may store.
fn grant(
    app: &App,
    user: &User,
    refresh_token: &NewToken,
    now: DateTime<Utc>,
) -> Result<Response, Problem> {
    let tokens = Tokens {
        access_token: app.issuer.issue(user.id, &user.roles, now).map_err(Problem::internal)?,
        token_type: "Bearer".into(),
        expires_in: ACCESS_LIFETIME.num_seconds(),
        refresh_token: refresh_token.token.expose().clone(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(tokens)).into_response())
}

/// The same response whether or not a mail was sent, and whatever it says.
#[derive(Serialize, utoipa::ToSchema)]
struct MailSent {
    #[schema(example = "check the mailbox of this address")]
    detail: &'static str,
}

static MAIL_SENT: MailSent = MailSent { detail: "check the mailbox of this address" };

fn parse_email(text: &str) -> Result<Email, Problem> {
    Email::parse(text)
        .map_err(|fault| Problem::invalid(vec![FieldError::new("/email", "invalid", fault)]))
}

/// Refuses an address that has used up its attempts, before any expensive work.
async fn check_attempts(
    app: &App,
    action: Action,
    email: &Email,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    match attempts::find(&app.pool, action, email).await? {
        Some(window) => refuse_if_over(window, now),
        None => Ok(()),
    }
}

/// Counts an attempt, and refuses it if it is over the limit.
async fn count_attempt(
    executor: impl PgExecutor<'_>,
    action: Action,
    email: &Email,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let with_this = attempts::count(executor, action, email, now).await?;
    let before = Window { made: with_this.made - 1, ..with_this };
    refuse_if_over(before, now)
}

fn refuse_if_over(window: Window, now: DateTime<Utc>) -> Result<(), Problem> {
    match rules::wait(window, now) {
        Some(seconds) => Err(problem::RATE_LIMITED
            .because("too many attempts with this address")
            .retry_after(seconds)),
        None => Ok(()),
    }
}

/// Cryptographically secure random bytes.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], Problem> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Problem::internal("reading random bytes from the system"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Routes that change something without hashing a password or checking a code.
    const CHEAP_PATHS: [&str; 2] = ["/v1/auth/refresh", "/v1/auth/logout"];

    #[test]
    fn every_path_that_hashes_or_checks_a_code_is_expensive() {
        let served = routes().into_openapi().paths.paths;
        let posted = served.iter().filter(|(_, item)| item.post.is_some());
        let posted: BTreeSet<&str> = posted.map(|(path, _)| path.as_str()).collect();
        let listed: Vec<&str> = EXPENSIVE_PATHS.iter().chain(&CHEAP_PATHS).copied().collect();
        assert_eq!(listed.len(), posted.len(), "a path is listed twice");
        assert_eq!(BTreeSet::from_iter(listed), posted);
    }
}
