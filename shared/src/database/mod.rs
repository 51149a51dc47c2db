//! Connections to PostgreSQL: how they are made, and what their failures mean to a caller.

mod iam;
mod migration;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, Postgres, Transaction};

use crate::aws;
use crate::clock::Clock;
use crate::config::{Secret, Settings};
use crate::http::problem::{MALFORMED_REQUEST, Problem};

pub use iam::{IamError, IamLogin};
pub use migration::{MigrationConfig, MigrationError, migrate, release};

/// How a role connects.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    pub url: Secret<String>,
    pub max_connections: u32,
    /// Shown in `pg_stat_activity`.
    pub application: &'static str,
    pub login: Login,
    /// Who vouches for the server; without one, `DATABASE_URL` says how much is asked of it.
    pub ca: Option<Authority>,
    /// Whether a proxy of RDS stands in front, which takes no settings from who connects.
    pub is_proxied: bool,
    /// For how long after its last use a connection is taken to be whole. Asking it costs a round
    /// trip, a tenth of a create.
    pub fresh: Duration,
}

/// What a role shows to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// What is in `DATABASE_URL`.
    #[default]
    Password,
    /// A token of IAM.
    Iam,
}

impl FromStr for Login {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "password" => Ok(Self::Password),
            "iam" => Ok(Self::Iam),
            _ => Err("must be password or iam"),
        }
    }
}

/// Who vouches for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The public authorities that this program was built with.
    System,
    /// Those in a file of PEM blocks.
    File(PathBuf),
}

impl FromStr for Authority {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "system" { Self::System } else { Self::File(text.into()) })
    }
}

/// The settings of every connection.
const SESSION: [(&str, &str); 7] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("timezone", "UTC"),
    // Statements are few and always the same, and what they look for is always found by a key:
    // planning the create anew each time cost more than a third of its rate.
    ("plan_cache_mode", "force_generic_plan"),
    // Those plans are made while the tables are small, and must be right when they are not.
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

/// Connections in a function, which does one thing at a time: one for a request, and one for the
/// relay behind it.
const CONNECTIONS_OF_A_FUNCTION: u32 = 2;

impl DatabaseConfig {
    /// With what is in `url`, as a process connects that runs on.
    pub fn new(url: Secret<String>, max_connections: u32, application: &'static str) -> Self {
        Self {
            url,
            max_connections,
            application,
            login: Login::Password,
            ca: None,
            is_proxied: false,
            fresh: Duration::from_secs(1),
        }
    }

    /// `DATABASE_URL`, `VITRINA_DATABASE_CONNECTIONS` (`connections` unless said, two in a
    /// function), `VITRINA_DATABASE_AUTH` (`password` or `iam`), `VITRINA_DATABASE_CA` (a file, or
    /// `system`) and `VITRINA_DATABASE_PROXY`.
    pub fn read(settings: &mut Settings, application: &'static str, connections: u32) -> Self {
        let url: String = settings.required("DATABASE_URL");
        if !url.is_empty() {
            let is_postgres = ["postgres://", "postgresql://"].iter().any(|s| url.starts_with(s));
            if !is_postgres {
                settings.fault("DATABASE_URL is wrong: must begin with postgres://");
            } else if let Err(error) = PgConnectOptions::from_str(&url) {
                settings.fault(format!("DATABASE_URL is wrong: {error}"));
            }
        }
        let is_function = settings.is_function();
        let connections = if is_function { CONNECTIONS_OF_A_FUNCTION } else { connections };
        let read = Self::new(Secret::new(url), connections, application);
        let login = settings.or("VITRINA_DATABASE_AUTH", Login::Password);
        let ca = settings.optional("VITRINA_DATABASE_CA");
        if let Some(Authority::File(file)) = &ca
            && !file.is_file()
        {
            settings.fault(format!("VITRINA_DATABASE_CA is wrong: {} is no file", file.display()));
        }
        if login == Login::Iam && ca.is_none() {
            settings.fault("VITRINA_DATABASE_CA is not set: a token goes to a known server only");
        }
        Self {
            max_connections: settings
                .optional("VITRINA_DATABASE_CONNECTIONS")
                .map_or(connections, NonZeroU32::get),
            login,
            ca,
            is_proxied: settings.or("VITRINA_DATABASE_PROXY", false),
            // What a function had before it was frozen may be gone, and its clock has not noticed.
            fresh: if is_function { Duration::ZERO } else { read.fresh },
            ..read
        }
    }

    /// With as much asked of the server as the settings say.
    fn secured(&self, options: PgConnectOptions) -> PgConnectOptions {
        match &self.ca {
            None => options,
            Some(Authority::System) => options.ssl_mode(PgSslMode::VerifyFull),
            Some(Authority::File(file)) => {
                options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(file)
            }
        }
    }
}

/// A pool, and what keeps it able to make connections.
#[derive(Clone, Debug)]
pub struct Database {
    pub pool: PgPool,
    pub login: Option<IamLogin>,
}

/// A pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("reading DATABASE_URL")]
    Url(#[from] sqlx::Error),
    #[error("logging in by IAM")]
    Iam(#[from] IamError),
}

/// Makes a pool as [`connect`] does, for whatever kind of log-in.
pub async fn open(config: &DatabaseConfig, clock: &Clock) -> Result<Database, OpenError> {
    let pool = connect(config)?;
    let login = match config.login {
        Login::Password => None,
        Login::Iam => {
            let options = (*pool.connect_options()).clone();
            let login = IamLogin::new(aws::environment().await, pool.clone(), options, clock)?;
            login.renew().await;
            Some(login)
        }
    };
    Ok(Database { pool, login })
}

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
    let mut options = config
        .secured(PgConnectOptions::from_str(config.url.expose())?)
        .application_name(config.application)
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
    if !config.is_proxied {
        options = options.options(SESSION);
    }
    let fresh = config.fresh;
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .before_acquire(move |connection, seen| {
            Box::pin(async move {
                if seen.idle_for >= fresh {
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
            // 08 connection, 28 log-in (a token that has expired), 40 rollback (deadlock,
            // serialisation), 53 resources, 55P03 lock not available, 57 operator intervention
            // (shutdown, timeout), 58 system, 25P03 and 25P04 transaction timeouts, 25006 a standby
            // during a failover.
            ["08", "28", "40", "53", "57", "58"].contains(&code.get(..2).unwrap_or(""))
                || ["55P03", "25P03", "25P04", "25006"].contains(&code.as_ref())
        }),
        _ => false,
    }
}

/// Whether PostgreSQL cannot be asked at all: then nothing else that is asked of it would be
/// answered either.
pub fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        // 08 connection, 28 log-in, 53 resources, 57P shutdown.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "28", "53", "57P"].iter().any(|class| code.starts_with(class))
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(pairs: &[(&str, &str)]) -> String {
        let mut settings = Settings::from_pairs(pairs.iter().copied());
        let _ = DatabaseConfig::read(&mut settings, "test", 16);
        settings.finish(()).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn whatever_keeps_a_connection_from_being_made_is_a_fault_at_the_start() {
        let url = ("DATABASE_URL", "postgres://app@db.example:5432/vitrina");
        assert_eq!(faults(&[url]), "");
        assert_eq!(
            faults(&[url, ("VITRINA_DATABASE_AUTH", "iam"), ("VITRINA_DATABASE_CA", "system")]),
            ""
        );
        let no_file = faults(&[url, ("VITRINA_DATABASE_CA", "/nowhere/ca.pem")]);
        assert_eq!(no_file, "VITRINA_DATABASE_CA is wrong: /nowhere/ca.pem is no file");
        let unknown = faults(&[url, ("VITRINA_DATABASE_AUTH", "kerberos")]);
        assert_eq!(unknown, "VITRINA_DATABASE_AUTH is wrong: must be password or iam");
        let secret = faults(&[("DATABASE_URL", "postgres://app:hunter2@db.example:port/vitrina")]);
        assert!(
            secret.starts_with("DATABASE_URL is wrong: ") && !secret.contains("hunter2"),
            "{secret}"
        );
    }

    #[test]
    fn a_function_makes_two_connections_and_asks_each_whether_it_lives() {
        let pairs = [("DATABASE_URL", "postgres://a@b/c"), ("AWS_LAMBDA_RUNTIME_API", "here")];
        let config = DatabaseConfig::read(&mut Settings::from_pairs(pairs), "test", 16);
        assert_eq!((config.max_connections, config.fresh), (2, Duration::ZERO));
    }
}
