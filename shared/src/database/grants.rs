//! The database roles: one for each service, which reads and writes the schemas of its service, and one
//! for each contract, in which the roles of its consumers are members.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::Timeouts;

/// What a service has in the database, and what its role may use.
#[derive(Clone, Copy, Debug)]
pub struct ServiceSchema {
    /// Run in this order. Several services may run the same one.
    pub migrators: &'static [&'static Migrator],
    /// The schemas whose tables the role reads and writes.
    pub schemas: &'static [&'static str],
    /// What the service publishes to other services.
    pub publishes: &'static [Contract],
    /// The roles of the contracts of other services that it uses.
    pub uses: &'static [&'static str],
}

/// A contract in the database: views and functions that other services may use.
#[derive(Clone, Copy, Debug)]
pub struct Contract {
    /// The group role that the grants are made to. It exists whichever service is released first.
    pub database_role: &'static str,
    /// Idempotent statements.
    pub grants: &'static str,
}

/// How often granting is tried.
const ATTEMPTS: u32 = 20;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Creates role `user` and grants it what the service needs, including later tables. Idempotent.
///
/// Roles belong to the cluster, and advisory locks to a database. A release in another database of
/// the cluster may create or alter the same role at the same time; then this one tries again.
pub(super) async fn grant(
    connection: &mut PgConnection,
    user: &str,
    service: &ServiceSchema,
) -> Result<(), sqlx::Error> {
    let mut attempt = 1;
    loop {
        match try_to_grant(connection, user, service).await {
            Err(error) if attempt < ATTEMPTS && is_race(&error) => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Whether another session has created or altered the same role at the same time.
fn is_race(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| match error.code().as_deref() {
        // Duplicate object, unique violation in a catalogue, deadlock.
        Some("42710" | "23505" | "40P01") => true,
        Some("XX000") => error.message().starts_with("tuple concurrently"),
        _ => false,
    })
}

/// On RDS the role may log in with an IAM token. The session settings are set on the role, because a
/// proxy refuses them from a client.
async fn try_to_grant(
    connection: &mut PgConnection,
    user: &str,
    service: &ServiceSchema,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Two release steps may run this at once in this database.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('vitrina.let_in', 0))")
        .execute(&mut *transaction)
        .await?;
    let mut statements = Vec::new();
    if !exists(&mut transaction, user).await? {
        statements.push("create role {user} login".to_owned());
    }
    let published = service.publishes.iter().map(|contract| contract.database_role);
    for group in published.chain(service.uses.iter().copied()) {
        if !exists(&mut transaction, group).await? {
            statements.push(format!("create role {group} nologin"));
        }
    }
    if exists(&mut transaction, "rds_iam").await? {
        statements.push("grant rds_iam to {user}".to_owned());
    }
    // Names and values are constants of this program.
    let session = Timeouts::default().session().into_iter();
    statements
        .extend(session.map(|(name, value)| format!("alter role {{user}} set {name} = '{value}'")));
    for schema in service.schemas {
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
            "revoke insert, update, delete on {schema}.migrations from {user}",
        ] {
            statements.push(grant.replace("{schema}", schema));
        }
    }
    statements.extend(service.publishes.iter().map(|contract| contract.grants.to_owned()));
    statements.extend(service.uses.iter().map(|group| format!("grant {group} to {{user}}")));
    let quoted: String = sqlx::query_scalar("select quote_ident($1)")
        .bind(user)
        .fetch_one(&mut *transaction)
        .await?;
    for statement in statements {
        // PostgreSQL has quoted the name. These statements take no parameters.
        let statement = AssertSqlSafe(statement.replace("{user}", &quoted));
        sqlx::raw_sql(statement).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn exists(connection: &mut PgConnection, database_role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists(select from pg_roles where rolname = $1)")
        .bind(database_role)
        .fetch_one(connection)
        .await
}
