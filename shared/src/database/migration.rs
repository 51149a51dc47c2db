//! The release step: migrates the schema of a service as its owner and grants the service access.

use std::str::FromStr as _;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::StalledStreamProtectionConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use serde::Deserialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::DatabaseConfig;
use super::grants::{ServiceSchema, grant};
use crate::aws;
use crate::config::{Secret, Settings};

/// Timeout of one attempt to fetch the secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(5);

/// How a schema is migrated.
#[derive(Clone, Debug)]
pub struct MigrationConfig {
    /// The name or ARN of the secret that holds the credentials of the database owner. Without one,
    /// the user in `DATABASE_URL` is the owner.
    pub secret: Option<String>,
    /// The role that the service logs in as. If set, it is created and granted access; without it, no
    /// role is created or changed.
    pub app_user: Option<String>,
}

impl MigrationConfig {
    /// Reads `VITRINA_DATABASE_SECRET` and `VITRINA_DATABASE_APP_USER`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            secret: settings.optional("VITRINA_DATABASE_SECRET"),
            app_user: settings.optional("VITRINA_DATABASE_APP_USER"),
        }
    }
}

/// Why a schema was not migrated, or access not granted. Both steps can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("reading the secret of the database's owner")]
    Secret(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("connecting as the database's owner")]
    Connect(#[source] sqlx::Error),
    #[error("migrating the schema")]
    Migrate(#[from] MigrateError),
    #[error("granting the service access")]
    Grant(#[source] sqlx::Error),
}

/// The credentials of the database owner, in the form RDS stores them.
#[derive(Deserialize)]
struct Owner {
    username: String,
    password: String,
}

/// Migrates the schemas of `service` as their owner and grants its role access.
pub async fn release(
    database: &DatabaseConfig,
    migration: &MigrationConfig,
    service: &ServiceSchema,
) -> Result<(), MigrationError> {
    let mut options = database.secured(
        PgConnectOptions::from_str(database.url.expose()).map_err(MigrationError::Connect)?,
    );
    if let Some(secret) = &migration.secret {
        let owner =
            owner(aws::environment().await, secret).await.map_err(MigrationError::Secret)?;
        options = options.username(&owner.expose().username).password(&owner.expose().password);
    }
    let mut connection = connect(options).await.map_err(MigrationError::Connect)?;
    run(&mut connection, service.migrators).await?;
    if let Some(user) = &migration.app_user {
        grant(&mut connection, user, service).await.map_err(MigrationError::Grant)?;
    }
    connection.close().await.map_err(MigrationError::Connect)
}

/// Migrates a schema over a connection without timeouts: a migration may take long, and so may
/// waiting for another process that migrates the same schema.
pub async fn migrate(url: &Secret<String>, migrators: &[&Migrator]) -> Result<(), MigrateError> {
    let mut connection = connect(PgConnectOptions::from_str(url.expose())?).await?;
    run(&mut connection, migrators).await?;
    connection.close().await?;
    Ok(())
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let options = options.application_name("vitrina migrations");
    options.options([("timezone", "UTC")]).connect().await
}

async fn run(connection: &mut PgConnection, migrators: &[&Migrator]) -> Result<(), MigrateError> {
    for migrator in migrators {
        migrator.run(&mut *connection).await?;
    }
    Ok(())
}

async fn owner(
    environment: &SdkConfig,
    secret: &str,
) -> Result<Secret<Owner>, Box<dyn std::error::Error + Send + Sync>> {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(SECRET_TIMEOUT).build();
    let config = aws_sdk_secretsmanager::config::Builder::from(environment)
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    let response = Client::from_conf(config).get_secret_value().secret_id(secret).send().await?;
    let text = response.secret_string().ok_or("the secret is not text")?;
    // A parser error would quote the secret.
    let owner =
        serde_json::from_str(text).map_err(|_| "the secret has no username and password")?;
    Ok(Secret::new(owner))
}
