//! The service's settings.

use std::time::Duration;

use shared::auth::AuthConfig;
use shared::bus::sqs::SqsConfig;
use shared::config::Settings;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::dynamodb::listings_table;
use shared::host::HostConfig;

use crate::context;

/// Buckets that a function compares in an invocation: all of them in 16.
const SLICE_OF_A_FUNCTION: u16 = 64;

/// What an event takes through EventBridge and SQS at worst on a good day, a cold start included.
const GRACE_OF_A_FUNCTION: Duration = Duration::from_secs(5);

/// What one process of the service does, and what only that needs.
#[derive(Clone, Debug)]
pub enum Role {
    /// Serves the operators' API, and with it the dead letters in SQS where there are some.
    Api { auth: AuthConfig, dead_letters: Option<SqsConfig> },
    /// Compares the stores and has mended what differs.
    Reconcile {
        table: String,
        settings: context::Settings,
        /// Whether the projector's queue is the queue table, where one can see what is under way.
        looks_into_queue: bool,
    },
    /// Brings the schema up to date.
    Migrate(MigrationConfig),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub host: HostConfig,
    /// The writer, never a replica: what a replica lags behind would look like drift.
    pub database: DatabaseConfig,
}

impl Config {
    /// `VITRINA_ROLE`, those of [`HostConfig::read`] and [`DatabaseConfig::read`], and those of the
    /// role: [`AuthConfig::read`] and [`SqsConfig::read`], [`listings_table`] and
    /// `VITRINA_SYNC_SLICE` (buckets a minute, or an invocation), or [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "reconcile", "migrate"]);
        let role = match name {
            "reconcile" => {
                let mut pace = context::Settings::default();
                let is_function = settings.is_function();
                if is_function {
                    (pace.slice, pace.grace) = (SLICE_OF_A_FUNCTION, GRACE_OF_A_FUNCTION);
                }
                pace.slice = settings.or("VITRINA_SYNC_SLICE", pace.slice);
                Role::Reconcile {
                    table: listings_table(settings),
                    settings: pace,
                    looks_into_queue: !is_function,
                }
            }
            "migrate" => Role::Migrate(MigrationConfig::read(settings)),
            _ => Role::Api {
                auth: AuthConfig::read(settings),
                // On AWS, nobody else shows operators what nobody could handle.
                dead_letters: if settings.is_function() {
                    Some(SqsConfig::required(settings))
                } else {
                    SqsConfig::read(settings)
                },
            },
        };
        Self {
            role,
            host: HostConfig::read(settings, "sync", name),
            database: DatabaseConfig::read(settings, "vitrina sync", 8),
        }
    }
}
