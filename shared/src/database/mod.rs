//! Connections to PostgreSQL, and what their failures mean to a client.

mod error;
mod grants;
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
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _};

use crate::aws;
use crate::clock::Clock;
use crate::config::{Secret, Settings};
use crate::http::problem::{MALFORMED_REQUEST, Problem};

pub use error::{DecodeError, StoreError, doing};
pub use grants::{Contract, ServiceSchema};
pub use iam::{IamError, IamLogin};
pub use migration::{MigrationConfig, MigrationError, migrate, release};

/// How a database role connects.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    pub url: Secret<String>,
    pub max_connections: u32,
    /// Shown in `pg_stat_activity`.
    pub application: &'static str,
    pub login: Login,
    /// The certificate authority of the server. Without one, `sslmode` in `DATABASE_URL` decides.
    pub ca: Option<Authority>,
    /// Whether connections go through an RDS proxy, which refuses session settings.
    pub is_proxied: bool,
    /// How long after its last use a connection counts as alive. A ping costs a round trip, a tenth
    /// of a create.
    pub fresh: Duration,
    pub timeouts: Timeouts,
}

/// Limits on waits, so that no request hangs, and a hanging relay holds no locks. Each ends in an error
/// that a retry may mend.
///
/// Behind an RDS proxy, `statement`, `lock` and `idle_in_transaction` come from the database role, which
/// its grants give the defaults of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the pool has a connection.
    pub acquire: Duration,
    /// Of a statement, including its waits for locks.
    pub statement: Duration,
    /// Of a wait for a lock.
    pub lock: Duration,
    /// Between two statements of a transaction. Then PostgreSQL ends the session.
    pub idle_in_transaction: Duration,
    /// Of the question to a returned connection whether it is idle. A connection to a server that
    /// has gone silent never responds, and the pool would wait for it instead of connecting again.
    pub ping: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            acquire: Duration::from_secs(2),
            statement: Duration::from_secs(5),
            lock: Duration::from_secs(2),
            idle_in_transaction: Duration::from_secs(5),
            ping: Duration::from_secs(2),
        }
    }
}

impl Timeouts {
    /// The settings of every session.
    fn session(&self) -> Vec<(&'static str, String)> {
        let milliseconds = |timeout: Duration| format!("{}ms", timeout.as_millis());
        let timeouts = [
            ("statement_timeout", self.statement),
            ("lock_timeout", self.lock),
            ("idle_in_transaction_session_timeout", self.idle_in_transaction),
        ];
        let timeouts = timeouts.map(|(name, timeout)| (name, milliseconds(timeout)));
        timeouts.into_iter().chain(SESSION.map(|(name, value)| (name, value.to_owned()))).collect()
    }
}

/// How a database role authenticates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// With the password in `DATABASE_URL`.
    #[default]
    Password,
    /// With an IAM token.
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

/// The certificate authorities that a server certificate is verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The public authorities compiled into this program.
    System,
    /// The authorities in a PEM file.
    File(PathBuf),
}

impl FromStr for Authority {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "system" { Self::System } else { Self::File(text.into()) })
    }
}

/// The settings of every connection, apart from its timeouts.
const SESSION: [(&str, &str); 4] = [
    ("timezone", "UTC"),
    // Statements are few, never change, and always look up by key. Planning each create again cost
    // more than a third of its rate.
    ("plan_cache_mode", "force_generic_plan"),
    // Generic plans are chosen while the tables are small and must stay right when they are large.
    ("enable_seqscan", "off"),
    ("jit", "off"),
];

/// Connections of a function, which handles one request at a time: one for the request and one for
/// the relay.
const CONNECTIONS_OF_A_FUNCTION: u32 = 2;

impl DatabaseConfig {
    /// The configuration of a long-running process that connects to `url`.
    pub fn new(url: Secret<String>, max_connections: u32, application: &'static str) -> Self {
        Self {
            url,
            max_connections,
            application,
            login: Login::Password,
            ca: None,
            is_proxied: false,
            fresh: Duration::from_secs(1),
            timeouts: Timeouts::default(),
        }
    }

    /// Reads `DATABASE_URL`, `VITRINA_DATABASE_CONNECTIONS` (default: `connections`; 2 in a
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
            settings
                .fault(format!("VITRINA_DATABASE_CA is wrong: {} is not a file", file.display()));
        }
        if login == Login::Iam && ca.is_none() {
            settings.fault(
                "VITRINA_DATABASE_CA is not set: an IAM token is sent only to a verified server",
            );
        }
        Self {
            max_connections: settings
                .optional("VITRINA_DATABASE_CONNECTIONS")
                .map_or(connections, NonZeroU32::get),
            login,
            ca,
            is_proxied: settings.or("VITRINA_DATABASE_PROXY", false),
            // A connection may have died while the function was frozen, and a frozen clock cannot
            // tell.
            fresh: if is_function { Duration::ZERO } else { read.fresh },
            ..read
        }
    }

    /// Adds the TLS verification that the settings ask for.
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

/// A pool, and the task that keeps its credentials valid.
#[derive(Clone, Debug)]
pub struct Database {
    pub pool: PgPool,
    pub login: Option<IamLogin>,
}

/// Why a pool cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("reading DATABASE_URL")]
    Url(#[from] sqlx::Error),
    #[error("logging in with IAM")]
    Iam(#[from] IamError),
}

/// Makes a pool as [`connect`] does, with either kind of authentication.
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

/// Makes a pool that connects on first use, so that a database that is down at the start causes a
/// 503 rather than a dead process.
///
/// A caller's future may be dropped at any moment: a client hangs up, or a timeout fires. If that drops
/// a `BEGIN` that PostgreSQL has executed or is about to, sqlx takes the connection back as idle, and
/// the next writes over it would be acknowledged and never committed. So the pool closes a returned
/// connection that is within a transaction.
pub fn connect(config: &DatabaseConfig) -> Result<PgPool, sqlx::Error> {
    let mut options = config
        .secured(PgConnectOptions::from_str(config.url.expose())?)
        .application_name(config.application)
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
    if !config.is_proxied {
        options = options.options(config.timeouts.session());
    }
    let (fresh, ping) = (config.fresh, config.timeouts.ping);
    Ok(PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.timeouts.acquire)
        .test_before_acquire(false)
        .before_acquire(move |connection, seen| {
            Box::pin(async move {
                if seen.idle_for >= fresh {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(move |connection, _| {
            Box::pin(async move {
                let asked = tokio::time::timeout(ping, is_idle(connection)).await;
                asked.unwrap_or_else(|_| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
            })
        })
        .connect_lazy_with(options))
}

/// Whether the session is outside a transaction: only then does this statement begin one of its own, at
/// the same moment. It has to be sent by the simple query protocol, without arguments. Known to test doubles
/// of PostgreSQL, because the pool asks it at a time of its own.
pub const IS_IDLE: &str = "select now() = statement_timestamp()";

async fn is_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql(IS_IDLE).fetch_one(connection).await?.try_get(0)
}

/// The name of the constraint that refused a row, if one did.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Whether the database caused the error and a retry may succeed.
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

/// Whether PostgreSQL cannot be reached at all, so that no other statement would get a response either.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        // 08 connection, 28 log-in, 53 resources, 57P shutdown.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "28", "53", "57P"].iter().any(|class| code.starts_with(class))
        }),
        other => is_transient(other),
    }
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    let found = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    found.is_some_and(|found| found == code)
}

/// Whether PostgreSQL refuses a value: class 22, such as a time out of range. Stored values were
/// checked before, so the value comes from the request.
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
                ..MALFORMED_REQUEST.because("a value cannot be used in a search")
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
    fn unusable_database_settings_are_reported_at_the_start() {
        let url = ("DATABASE_URL", "postgres://app@db.example:5432/vitrina");
        assert_eq!(faults(&[url]), "");
        assert_eq!(
            faults(&[url, ("VITRINA_DATABASE_AUTH", "iam"), ("VITRINA_DATABASE_CA", "system")]),
            ""
        );
        let no_file = faults(&[url, ("VITRINA_DATABASE_CA", "/nowhere/ca.pem")]);
        assert_eq!(no_file, "VITRINA_DATABASE_CA is wrong: /nowhere/ca.pem is not a file");
        let unknown = faults(&[url, ("VITRINA_DATABASE_AUTH", "kerberos")]);
        assert_eq!(unknown, "VITRINA_DATABASE_AUTH is wrong: must be password or iam");
        let secret = faults(&[("DATABASE_URL", "postgres://app:hunter2@db.example:port/vitrina")]);
        assert!(
            secret.starts_with("DATABASE_URL is wrong: ") && !secret.contains("hunter2"),
            "{secret}"
        );
    }

    #[test]
    fn function_opens_two_connections_and_always_pings_them() {
        let pairs = [("DATABASE_URL", "postgres://a@b/c"), ("AWS_LAMBDA_RUNTIME_API", "here")];
        let config = DatabaseConfig::read(&mut Settings::from_pairs(pairs), "test", 16);
        assert_eq!((config.max_connections, config.fresh), (2, Duration::ZERO));
    }
}
