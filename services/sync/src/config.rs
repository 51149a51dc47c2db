//! The service's settings.

use std::time::Duration;

use shared::bus::aws::{SqsConfig, SqsQueues};
use shared::config::Settings;
use shared::contract::listing::table_name;
use shared::contract::routes::ROUTES;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::host::HostConfig;
use shared::http::auth::AuthConfig;

use crate::context;

/// Buckets that a function compares in an invocation: a pass takes 16 invocations.
const SLICE_OF_A_FUNCTION: u16 = 64;

/// The longest that an event takes through EventBridge and SQS in normal operation, with a cold start.
const GRACE_OF_A_FUNCTION: Duration = Duration::from_secs(5);

/// The role of a process of the service, and the settings that only it needs.
#[derive(Clone, Debug)]
pub enum ProcessRole {
    /// Serves the operators' API. Without `sqs`, the queues are those in PostgreSQL.
    Api { auth: AuthConfig, table: String, sqs: Option<SqsQueues> },
    /// Compares the stores and requests repairs.
    Reconcile {
        table: String,
        settings: context::Settings,
        /// Whether the projector's queue is the one in PostgreSQL, which can be searched for events in
        /// flight.
        searches_queue: bool,
    },
    /// Brings the schema up to date.
    Migrate(MigrationConfig),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub process_role: ProcessRole,
    pub host: HostConfig,
    /// The writer, never a replica: the lag of a replica would look like drift.
    pub database: DatabaseConfig,
}

impl Config {
    /// Reads `VITRINA_ROLE`, the settings of [`HostConfig::read`] and [`DatabaseConfig::read`], and those
    /// of the process role: [`AuthConfig::read`], [`table_name`] and [`SqsConfig::read_all`]; [`table_name`] and
    /// `VITRINA_SYNC_SLICE` (buckets a minute, or an invocation); or [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "reconcile", "migrate"]);
        let process_role = match name {
            "reconcile" => {
                let mut pace = context::Settings::default();
                let is_function = settings.is_function();
                if is_function {
                    (pace.slice, pace.grace) = (SLICE_OF_A_FUNCTION, GRACE_OF_A_FUNCTION);
                }
                pace.slice = settings.or("VITRINA_SYNC_SLICE", pace.slice);
                ProcessRole::Reconcile {
                    table: table_name(settings),
                    settings: pace,
                    searches_queue: !is_function,
                }
            }
            "migrate" => ProcessRole::Migrate(MigrationConfig::read(settings)),
            _ => ProcessRole::Api {
                auth: AuthConfig::read(settings),
                table: table_name(settings),
                sqs: SqsConfig::read_all(settings, ROUTES),
            },
        };
        Self {
            process_role,
            host: HostConfig::read(settings, "sync", name),
            database: DatabaseConfig::read(settings, "vitrina sync", 8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace of a reconciler with these settings in addition.
    fn pace(more: &[(&str, &str)]) -> (Duration, u16, bool) {
        let mut pairs = vec![
            ("VITRINA_ROLE", "reconcile"),
            ("DATABASE_URL", "postgres://127.0.0.1:1/none"),
            ("VITRINA_LISTINGS_TABLE", "listings"),
        ];
        pairs.extend(more);
        let config = Config::read(&mut Settings::from_pairs(pairs));
        let ProcessRole::Reconcile { settings, searches_queue, .. } = config.process_role else {
            panic!("another role: {:?}", config.process_role)
        };
        (settings.grace, settings.slice, searches_queue)
    }

    #[test]
    fn function_waits_five_seconds_for_events_in_flight() {
        let function = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
        assert_eq!(pace(&[function]), (Duration::from_secs(5), 64, false));
        assert_eq!(pace(&[]), (Duration::from_secs(2), 8, true));
        let slice = ("VITRINA_SYNC_SLICE", "7");
        assert_eq!(pace(&[function, slice]), (Duration::from_secs(5), 7, false));
    }
}
