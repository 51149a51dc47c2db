//! The service's settings.

use shared::bus::BusConfig;
use shared::config::Settings;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::host::HostConfig;
use shared::http::auth::AuthConfig;

/// What one process of the service does, with the settings that only it needs.
#[derive(Clone, Debug)]
pub enum ProcessRole {
    /// Serves the seller's API.
    Api(AuthConfig),
    /// Publishes the events in the outbox.
    Relay,
    /// Brings the schema up to date.
    Migrate(MigrationConfig),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub process_role: ProcessRole,
    pub host: HostConfig,
    pub database: DatabaseConfig,
    pub bus: BusConfig,
}

impl Config {
    /// Reads `VITRINA_ROLE`, the settings of [`HostConfig::read`] and [`DatabaseConfig::read`], and
    /// those of the process role: [`AuthConfig::read`], [`BusConfig::read`], or [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "relay", "migrate"]);
        let process_role = match name {
            "relay" => ProcessRole::Relay,
            "migrate" => ProcessRole::Migrate(MigrationConfig::read(settings)),
            _ => ProcessRole::Api(AuthConfig::read(settings)),
        };
        Self {
            host: HostConfig::read(settings, "inventory", name),
            database: DatabaseConfig::read(settings, "vitrina inventory", 16),
            bus: if name == "migrate" { BusConfig::none() } else { BusConfig::read(settings) },
            process_role,
        }
    }
}
