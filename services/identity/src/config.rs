//! The service's settings.

use std::path::PathBuf;

use shared::config::Settings;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::host::HostConfig;

use crate::http::EXPENSIVE_PATHS;

/// What one process of the service does, and what only that needs.
#[derive(Clone, Debug)]
pub enum Role {
    /// Serves sign-up, log-in and the key set.
    Api(ProviderConfig),
    /// Brings the schema up to date.
    Migrate(MigrationConfig),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub host: HostConfig,
    pub database: DatabaseConfig,
}

/// How tokens are issued and mails are sent.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// The address of this service, as verifiers know it.
    pub issuer: String,
    pub audience: String,
    /// The private key; made if it is not there.
    pub key_file: PathBuf,
    /// Where mails are written.
    pub mail_directory: PathBuf,
}

impl Config {
    /// `VITRINA_ROLE`, those of [`HostConfig::read`] and [`DatabaseConfig::read`], and those of the
    /// role: [`ProviderConfig::read`] or [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "migrate"]);
        let role = match name {
            "migrate" => Role::Migrate(MigrationConfig::read(settings)),
            _ => Role::Api(ProviderConfig::read(settings)),
        };
        Self {
            role,
            host: HostConfig::read(settings, "identity", name)
                .with_expensive_paths(EXPENSIVE_PATHS),
            database: DatabaseConfig::read(settings, "vitrina identity", 16),
        }
    }
}

impl ProviderConfig {
    /// `VITRINA_AUTH_ISSUER`, `VITRINA_AUTH_AUDIENCE`, `VITRINA_IDENTITY_KEY_FILE` and
    /// `VITRINA_MAIL_DIRECTORY`.
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            issuer: settings.required("VITRINA_AUTH_ISSUER"),
            audience: settings.or("VITRINA_AUTH_AUDIENCE", "vitrina".to_owned()),
            key_file: settings.required("VITRINA_IDENTITY_KEY_FILE"),
            mail_directory: settings.required("VITRINA_MAIL_DIRECTORY"),
        }
    }
}
