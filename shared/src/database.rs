//! Connections to PostgreSQL: how they are made, and what their failures mean to a caller.

use std::io::ErrorKind;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres, Transaction};

use crate::config::Secret;
use crate::problem::{MALFORMED_REQUEST, Problem};

/// How a role connects.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    pub url: Secret<String>,
    pub max_connections: u32,
    /// Shown in `pg_stat_activity`.
    pub application: &'static str,
}

/// For how long after its last use a connection is taken to be whole. Asking it costs a round trip,
/// a tenth of a create.
const FRESH: Duration = Duration::from_secs(1);

/// How long a connection may take to say that it is whole when it comes back. Where whoever used it
/// gave up on a server that has gone silent, it never says so, and the pool would wait for it instead
/// of connecting anew.
const RETURN: Duration = Duration::from_secs(2);

/// Makes a pool that connects when it is first used, so that a database that is down at the start
/// is a 503 and not a dead process.
///
/// Every connection gives up a statement after 5 s, a lock after 2 s and an idle transaction after
/// 5 s: no request hangs, and a relay that hangs holds nothing.
pub fn connect(config: &DatabaseConfig) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(config.url.expose())?
        .application_name(config.application)
        .options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "2s"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("timezone", "UTC"),
            // Statements are few and always the same, and what they look for is always found by a
            // key: planning the create anew each time cost more than a third of its rate.
            ("plan_cache_mode", "force_generic_plan"),
            // Those plans are made while the tables are small, and must be right when they are not.
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ])
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .before_acquire(|connection, seen| {
            Box::pin(async move {
                if seen.idle_for >= FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                let asked = tokio::time::timeout(RETURN, connection.ping()).await;
                asked.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))?;
                Ok(true)
            })
        })
        .connect_lazy_with(options))
}

/// Begins a transaction.
///
/// Whoever asks for one may stop waiting at any moment: a client hangs up, a time is up. If that
/// dropped a `BEGIN` which PostgreSQL already has, the pool would give the connection out as one
/// without a transaction, and what is written over it next would be acknowledged and never committed.
/// So it is begun to its end, and rolled back if nobody waits for it any more.
///
/// # Errors
/// As for [`PgPool::begin`].
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    #[expect(clippy::disallowed_methods, reason = "this is the one place that calls it")]
    let begun = tokio::spawn(async move { pool.begin().await });
    // It cannot have been aborted, so it has panicked, as it does where the runtime ends.
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// Brings a schema up to date, over a connection of its own: what every other one gives up after
/// seconds may take long here, and waiting for another process that does the same is no failure.
pub async fn migrate(
    url: &Secret<String>,
    migrators: &[&sqlx::migrate::Migrator],
) -> Result<(), sqlx::migrate::MigrateError> {
    let options = PgConnectOptions::from_str(url.expose())?
        .application_name("vitrina migrations")
        .options([("timezone", "UTC")]);
    let mut connection = options.connect().await?;
    for migrator in migrators {
        migrator.run(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// The name of the constraint that refused a row, if one did.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Whether the store is the reason and another try may well succeed.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // 08 connection, 40 rollback (deadlock, serialisation), 53 resources, 55P03 lock not
            // available, 57 operator intervention (shutdown, timeout), 58 system, 25P03 and 25P04
            // transaction timeouts, 25006 a standby during a failover.
            ["08", "40", "53", "57", "58"].contains(&code.get(..2).unwrap_or(""))
                || ["55P03", "25P03", "25P04", "25006"].contains(&code.as_ref())
        }),
        _ => false,
    }
}

/// Whether PostgreSQL cannot be asked at all: then nothing else that is asked of it would be
/// answered either.
pub fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        // 08 connection, 53 resources, 57P shutdown.
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class))),
        other => is_transient(other),
    }
}

/// Whether PostgreSQL cannot read a value: class 22, such as a time out of its range. What is
/// stored was checked before, so it is something that was asked for.
fn is_data_exception(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22"))
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Arc::new(error).into()
    }
}

impl From<Arc<sqlx::Error>> for Problem {
    fn from(error: Arc<sqlx::Error>) -> Self {
        if is_transient(&error) {
            Self::unavailable(error)
        } else if is_data_exception(&error) {
            Self {
                source: Some(Box::new(error)),
                ..MALFORMED_REQUEST.because("a value is none that can be looked for")
            }
        } else {
            Self::internal(error)
        }
    }
}
