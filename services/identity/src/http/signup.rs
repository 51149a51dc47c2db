//! `POST /v1/auth/signup`

use std::str::FromStr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use shared::http::auth::Role;
use shared::http::problem::{FieldError, Problem};
use shared::http::{Faults, Json};

use crate::App;
use crate::account::{Email, Signup, check_name, check_password};
use crate::attempts::Action;
use crate::codes::{self, Purpose};
use crate::http::{MAIL_SENT, MailSent, check_attempts, count_attempt, random};
use crate::mail::Mail;
use crate::store::users::{self, NewUser, SignedUp};

/// Role of a new account. Operators cannot sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
enum SignupRole {
    Seller,
    Buyer,
}

impl FromStr for SignupRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "seller" => Ok(Self::Seller),
            "buyer" => Ok(Self::Buyer),
            _ => Err("must be seller or buyer"),
        }
    }
}

impl From<SignupRole> for Role {
    fn from(role: SignupRole) -> Self {
        match role {
            SignupRole::Seller => Self::Seller,
            SignupRole::Buyer => Self::Buyer,
        }
    }
}

/// A sign-up as the client sends it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignUp)]
pub(crate) struct SentSignup {
    #[schema(format = "email", max_length = 254, example = "ana@example.com")]
    email: String,
    /// Any characters; only the length is checked.
    #[schema(format = "password", min_length = 8, max_length = 128, example = "a long sentence")]
    password: String,
    #[schema(min_length = 1, max_length = 200, example = "Ana Souza")]
    name: String,
    #[schema(value_type = SignupRole)]
    role: String,
}

impl Signup {
    fn parse(sent: SentSignup) -> Result<Self, Vec<FieldError>> {
        let mut faults = Faults::default();
        let email = faults.check("/email", Email::parse(&sent.email));
        let password = faults.check("/password", check_password(sent.password));
        faults.check("/name", check_name(&sent.name));
        let role = faults.check("/role", sent.role.parse::<SignupRole>());
        match (email, password, role) {
            (Some(email), Some(password), Some(role)) if faults.is_empty() => {
                Ok(Self { email, password, name: sent.name, role: role.into() })
            }
            _ => Err(faults.into_errors()),
        }
    }
}

/// Signs up. The code that activates the account is mailed; signing up again sends a new one.
///
/// The response is the same whether or not the address has an account.
#[utoipa::path(
    post, path = "/v1/auth/signup", tag = "identity",
    request_body = SentSignup,
    responses(
        (status = 202, description = "The mail is on its way", body = MailSent),
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

    let mut transaction = app.pool.begin().await?;
    count_attempt(&mut *transaction, Action::Mail, &signup.email, now).await?;
    let expires_at = now + codes::LIFETIME;
    let signed_up = users::claim(&mut *transaction, &user, &code_hash, expires_at).await?;
    transaction.commit().await?;

    let mail = match signed_up {
        SignedUp::Pending { again } => Mail::Activation { code, again },
        SignedUp::AlreadyActive => Mail::AlreadyActive,
    };
    let mailer = app.mailer.clone();
    app.background.spawn(async move { mailer.send(&signup.email, &mail, now).await });
    Ok((StatusCode::ACCEPTED, axum::Json(&MAIL_SENT)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_signup_names_every_fault() {
        let faults = Signup::parse(SentSignup {
            email: "ana".to_owned(),
            password: "short".to_owned(),
            name: " ".to_owned(),
            role: "operator".to_owned(),
        })
        .unwrap_err();
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/email", "/password", "/name", "/role"]);
    }
}
