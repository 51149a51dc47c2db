//! The service's settings.

use std::str::FromStr;

use shared::auth::AuthConfig;
use shared::config::{Secret, Settings};
use shared::database::DatabaseConfig;
use shared::host::process::ProcessConfig;

/// What one process of the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Serves the seller's API.
    #[default]
    Api,
    /// Publishes what is in the outbox.
    Relay,
    /// Brings the schema up to date, and ends.
    Migrate,
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "api" => Ok(Self::Api),
            "relay" => Ok(Self::Relay),
            "migrate" => Ok(Self::Migrate),
            _ => Err("must be api, relay or migrate"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub process: ProcessConfig,
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
}

impl Config {
    /// `VITRINA_ROLE`, `DATABASE_URL`, `VITRINA_DATABASE_CONNECTIONS`, and those of
    /// [`AuthConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            role: settings.or("VITRINA_ROLE", Role::Api),
            process: ProcessConfig::read(settings),
            database: DatabaseConfig {
                url: Secret::new(settings.required("DATABASE_URL")),
                max_connections: settings.or("VITRINA_DATABASE_CONNECTIONS", 16),
                application: "vitrina inventory",
            },
            auth: AuthConfig::read(settings),
        }
    }
}
