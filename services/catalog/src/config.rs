//! The service's settings.

use shared::bus::aws::SqsConfig;
use shared::config::Settings;
use shared::contract::listing;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::host::HostConfig;
use shared::money::Currency;

/// What one process of the service does, with the settings that only this needs.
#[derive(Clone, Debug)]
pub enum ProcessRole {
    /// Serves the public catalogue from this table of listings.
    Api { table: String, currency: Currency },
    /// Projects events into this table of listings.
    Projector { table: String, feed: Feed },
    /// Migrates the bus, where the projector reads the queue table.
    Migrate { database: DatabaseConfig, migration: MigrationConfig },
}

/// The source of the projector's events.
#[derive(Clone, Debug)]
pub enum Feed {
    Table(DatabaseConfig),
    Sqs(SqsConfig),
}

impl Feed {
    /// SQS for a function, and for a process with the settings of [`SqsConfig::read`]; otherwise the
    /// queue table.
    fn read(settings: &mut Settings) -> Self {
        if settings.is_function() {
            return Self::Sqs(SqsConfig::required(settings));
        }
        match SqsConfig::read(settings) {
            Some(queue) => Self::Sqs(queue),
            None => Self::Table(database(settings)),
        }
    }
}

fn database(settings: &mut Settings) -> DatabaseConfig {
    DatabaseConfig::read(settings, "vitrina catalog", 4)
}

#[derive(Clone, Debug)]
pub struct Config {
    pub process_role: ProcessRole,
    pub host: HostConfig,
}

impl Config {
    /// Reads `VITRINA_ROLE`, the settings of [`HostConfig::read`], and those of the process role:
    /// [`listing::table_name`] with `VITRINA_CURRENCY` or the source of events ([`SqsConfig::read`],
    /// else [`DatabaseConfig::read`]); or [`DatabaseConfig::read`] and [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "projector", "migrate"]);
        let process_role = match name {
            "projector" => {
                let feed = Feed::read(settings);
                ProcessRole::Projector { table: listing::table_name(settings), feed }
            }
            "migrate" => ProcessRole::Migrate {
                database: database(settings),
                migration: MigrationConfig::read(settings),
            },
            _ => {
                let currency: Option<Currency> = settings.optional("VITRINA_CURRENCY");
                let currency = currency.unwrap_or_default();
                ProcessRole::Api { table: listing::table_name(settings), currency }
            }
        };
        Self { process_role, host: HostConfig::read(settings, "catalog", name) }
    }
}
