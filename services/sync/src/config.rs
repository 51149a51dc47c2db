//! The service's settings.

use std::str::FromStr;

use shared::auth::AuthConfig;
use shared::config::{Secret, Settings};
use shared::database::DatabaseConfig;
use shared::host::process::ProcessConfig;

/// What one process of the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Serves the operators' API.
    #[default]
    Api,
    /// Compares the stores and has mended what differs.
    Reconcile,
    /// Brings the schema up to date, and ends.
    Migrate,
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "api" => Ok(Self::Api),
            "reconcile" => Ok(Self::Reconcile),
            "migrate" => Ok(Self::Migrate),
            _ => Err("must be api, reconcile or migrate"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub process: ProcessConfig,
    pub table: String,
    /// The writer, never a replica: what a replica lags behind would look like drift.
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
}

impl Config {
    /// `VITRINA_ROLE`, `VITRINA_LISTINGS_TABLE`, `DATABASE_URL`,
    /// `VITRINA_DATABASE_CONNECTIONS`, and those of [`AuthConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            role: settings.or("VITRINA_ROLE", Role::Api),
            process: ProcessConfig::read(settings),
            table: settings.or("VITRINA_LISTINGS_TABLE", "listings".to_owned()),
            database: DatabaseConfig {
                url: Secret::new(settings.required("DATABASE_URL")),
                max_connections: settings.or("VITRINA_DATABASE_CONNECTIONS", 8),
                application: "vitrina sync",
            },
            auth: AuthConfig::read(settings),
        }
    }
}
