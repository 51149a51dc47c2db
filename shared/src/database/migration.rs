//! The release step: brings a schema up to date as its owner, and lets the application in.

use std::str::FromStr as _;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::StalledStreamProtectionConfig;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use serde::Deserialize;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::{DatabaseConfig, SESSION};
use crate::aws;
use crate::config::{Secret, Settings};

/// How long an attempt of asking for the secret may take.
const SECRET_TIMEOUT: Duration = Duration::from_secs(5);

/// How a schema is brought up to date.
#[derive(Clone, Debug)]
pub struct MigrationConfig {
    /// The name or ARN of the secret that knows who owns the database; without one, whoever is in
    /// `DATABASE_URL` does.
    pub secret: Option<String>,
    /// The role that the application logs in as: made, and let in, where it is named.
    pub app_user: Option<String>,
}

impl MigrationConfig {
    /// `VITRINA_DATABASE_SECRET` and `VITRINA_DATABASE_APP_USER`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            secret: settings.optional("VITRINA_DATABASE_SECRET"),
            app_user: settings.optional("VITRINA_DATABASE_APP_USER"),
        }
    }
}

/// A schema is not up to date, or the application not let in. Both can be begun anew.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("reading the secret of the database's owner")]
    Secret(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("connecting as the database's owner")]
    Connect(#[source] sqlx::Error),
    #[error("bringing the schema up to date")]
    Migrate(#[from] MigrateError),
    #[error("letting the application in")]
    Grant(#[source] sqlx::Error),
}

/// Who owns a database, as RDS writes it down.
#[derive(Deserialize)]
struct Owner {
    username: String,
    password: String,
}

/// Brings `schemas` up to date as their owner, and lets the application into them.
pub async fn release(
    database: &DatabaseConfig,
    migration: &MigrationConfig,
    migrators: &[&Migrator],
    schemas: &[&str],
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
    run(&mut connection, migrators).await?;
    if let Some(user) = &migration.app_user {
        let_in(&mut connection, user, schemas).await.map_err(MigrationError::Grant)?;
    }
    connection.close().await.map_err(MigrationError::Connect)
}

/// Brings a schema up to date, over a connection of its own: what every other one gives up after
/// seconds may take long here, and waiting for another process that does the same is no failure.
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
    let answer = Client::from_conf(config).get_secret_value().secret_id(secret).send().await?;
    let text = answer.secret_string().ok_or("it is no text")?;
    // What it says must not get into an error, where a parser would quote it.
    let owner = serde_json::from_str(text).map_err(|_| "it has no username and password")?;
    Ok(Secret::new(owner))
}

/// Makes the role `user` where there is none, and lets it read and write in `schemas`, now and in
/// what is made there later. May be done as often as one likes.
///
/// It may log in by a token of RDS where the server knows those, and gives up what takes long by
/// itself: a proxy takes no such settings from whoever connects.
async fn let_in(
    connection: &mut PgConnection,
    user: &str,
    schemas: &[&str],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Both release steps may come here at once.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('vitrina.let_in', 0))")
        .execute(&mut *transaction)
        .await?;
    let known: bool = sqlx::query_scalar("select exists(select from pg_roles where rolname = $1)")
        .bind(user)
        .fetch_one(&mut *transaction)
        .await?;
    let mut statements = Vec::new();
    if !known {
        statements.push("create role {user} login".to_owned());
    }
    let is_rds: bool =
        sqlx::query_scalar("select exists(select from pg_roles where rolname = 'rds_iam')")
            .fetch_one(&mut *transaction)
            .await?;
    if is_rds {
        statements.push("grant rds_iam to {user}".to_owned());
    }
    // Names and values are this program's own.
    statements
        .extend(SESSION.map(|(name, value)| format!("alter role {{user}} set {name} = '{value}'")));
    for schema in schemas {
        for grant in [
            "grant usage on schema {schema} to {user}",
            "grant select, insert, update, delete on all tables in schema {schema} to {user}",
            "grant usage, select on all sequences in schema {schema} to {user}",
            "grant execute on all functions in schema {schema} to {user}",
            "alter default privileges in schema {schema}
                 grant select, insert, update, delete on tables to {user}",
            "alter default privileges in schema {schema}
                 grant usage, select on sequences to {user}",
            "alter default privileges in schema {schema} grant execute on functions to {user}",
        ] {
            statements.push(grant.replace("{schema}", schema));
        }
    }
    let quoted: String = sqlx::query_scalar("select quote_ident($1)")
        .bind(user)
        .fetch_one(&mut *transaction)
        .await?;
    for statement in statements {
        // PostgreSQL itself has quoted the name; statements like these take no parameters.
        let statement = AssertSqlSafe(statement.replace("{user}", &quoted));
        sqlx::raw_sql(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}
