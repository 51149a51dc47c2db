//! The provider's API: one file an endpoint.

mod activate;
mod forgot_password;
mod jwks;
mod login;
mod logout;
mod openid_configuration;
mod refresh;
mod reset_password;
mod signup;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
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

/// Where a password or a code is hashed. Whoever asks there takes most of what this service has.
pub const DEAR: &[&str] = &[
    "/v1/auth/signup",
    "/v1/auth/activate",
    "/v1/auth/login",
    "/v1/auth/password/forgot",
    "/v1/auth/password/reset",
];

/// The kinds of problems that only this service answers with.
pub static PROBLEMS: &[&Kind] = &[&INVALID_CREDENTIALS, &INVALID_REFRESH_TOKEN, &INVALID_CODE];

static INVALID_CREDENTIALS: Kind = Kind {
    code: "invalid_credentials",
    status: 401,
    title: "Address and password do not fit",
    explanation: "There is no active account with this address and this password. Which of the two \
                  is wrong, or whether the account waits for its activation, is not told. \
                  `POST /v1/auth/password/forgot` helps whoever has an account, \
                  `POST /v1/auth/signup` whoever has none or did not activate it.",
};

static INVALID_REFRESH_TOKEN: Kind = Kind {
    code: "invalid_refresh_token",
    status: 401,
    title: "The refresh token is not good any more",
    explanation: "It is unknown, has expired, was exchanged before, or its session has ended. A \
                  refresh token is good for one exchange: keep the one that comes back, and do not \
                  use one twice, for that ends the session. Log in again.",
};

static INVALID_CODE: Kind = Kind {
    code: "invalid_code",
    status: 422,
    title: "The code is not good",
    explanation: "It is wrong, older than 15 minutes, replaced by a newer one, or was tried five \
                  times. Ask for a new one: sign up again, or `POST /v1/auth/password/forgot`.",
};

/// What somebody has who logged in.
#[derive(Serialize, utoipa::ToSchema)]
struct Tokens {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    #[schema(example = 900)]
    expires_in: i64,
    /// Good for 30 days and for one exchange.
    refresh_token: String,
}

/// Hands out tokens, past every cache.
fn grant(
    app: &App,
    user: &User,
    refresh_token: &NewToken,
    now: DateTime<Utc>,
) -> Result<Response, Problem> {
    let tokens = Tokens {
        access_token: app.issuer.issue(user.id, &user.roles, now).map_err(Problem::internal)?,
        token_type: "Bearer",
        expires_in: ACCESS_LIFETIME.num_seconds(),
        refresh_token: refresh_token.token.expose().clone(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(tokens)).into_response())
}

/// The same answer, whatever a mail says and whether there is one.
#[derive(Serialize, utoipa::ToSchema)]
struct MailSent {
    #[schema(example = "look into the mailbox of this address")]
    detail: &'static str,
}

static MAIL_SENT: MailSent = MailSent { detail: "look into the mailbox of this address" };

fn parse_email(text: &str) -> Result<Email, Problem> {
    Email::parse(text)
        .map_err(|fault| Problem::invalid(vec![FieldError::new("/email", "invalid", fault)]))
}

/// Refuses before any work is done, where too much was tried with the address.
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

/// Counts a try, and refuses the one that is too much.
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

/// Bits that nobody can guess.
fn random<const BYTES: usize>() -> Result<[u8; BYTES], Problem> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Problem::internal("the machine has no random bits"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_for_many_is_served() {
        let served = routes().into_openapi().paths.paths;
        for path in DEAR {
            assert!(served.contains_key(*path), "{path}");
        }
    }
}
