//! The embedded identity provider: accounts proved by a password and a mailbox.
//!
//! Promise: no response reveals whether an address has an account, neither by its content nor by its
//! timing.

mod account;
mod attempts;
mod background;
mod codes;
pub mod config;
pub mod delete_expired;
pub mod demo;
mod http;
pub mod keys;
pub mod mail;
pub mod passwords;
mod schema;
mod sessions;
mod store;

use axum::Router;
use shared::clock::Clock;
use shared::database::StoreError;
use shared::id::Ids;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;

use crate::account::Email;
use crate::config::ProviderConfig;
use crate::keys::{Issuer, KeyError, SigningKey};
use crate::mail::{Mailer, MailerError};
use crate::passwords::Passwords;
use crate::store::users;

pub use account::check_password;
pub use background::Background;
pub use http::{EXPENSIVE_PATHS, PROBLEMS, Tokens};
pub use schema::SCHEMA;
pub use store::users::User;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The state of the service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub issuer: Issuer,
    pub passwords: Passwords,
    pub mailer: Mailer,
    pub background: Background,
}

/// Why the provider cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Mail(#[from] MailerError),
}

impl App {
    /// Reads or creates the signing key, and creates the directory for mail.
    pub fn new(
        config: &ProviderConfig,
        pool: PgPool,
        clock: Clock,
        ids: Ids,
    ) -> Result<Self, StartError> {
        let key = SigningKey::load_or_create(&config.key_file)?;
        Ok(Self {
            pool,
            clock,
            issuer: Issuer::new(key, &config.issuer, &config.audience, ids.clone()),
            ids,
            passwords: Passwords::default(),
            mailer: Mailer::new(&config.mail_directory)?,
            background: Background::default(),
        })
    }

    /// Finds the active user with this address.
    pub async fn find_user(&self, email: &str) -> Result<Option<User>, StoreError> {
        let Ok(email) = Email::parse(email) else {
            return Ok(None);
        };
        let found = users::find_credentials(&self.pool, &email).await?;
        Ok(found.filter(|found| found.is_active).map(|found| found.user))
    }
}

/// The routes with their OpenAPI description.
pub fn routes() -> OpenApiRouter<App> {
    http::routes()
}

/// The routes, ready to be served.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
