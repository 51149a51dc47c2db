//! The service's settings.

use std::path::PathBuf;

use shared::config::Settings;
use shared::database::{DatabaseConfig, MigrationConfig};
use shared::host::HostConfig;

use crate::http::EXPENSIVE_PATHS;

/// What one process of the service does, with the settings that only this needs.
#[derive(Clone, Debug)]
pub enum ProcessRole {
    /// Serves sign-up, log-in and the key set.
    Api(ProviderConfig),
    /// Migrates the schema.
    Migrate(MigrationConfig),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub process_role: ProcessRole,
    pub host: HostConfig,
    pub database: DatabaseConfig,
}

/// How tokens are issued and mail is sent.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Base URL of this service, as verifiers know it.
    pub issuer: String,
    pub audience: String,
    /// File of the private key, created if it is missing.
    pub key_file: PathBuf,
    /// Directory that mails are written to.
    pub mail_directory: PathBuf,
}

impl Config {
    /// Reads `VITRINA_ROLE`, the settings of [`HostConfig::read`] and [`DatabaseConfig::read`], and
    /// those of the process role: [`ProviderConfig::read`] or [`MigrationConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "migrate"]);
        let process_role = match name {
            "migrate" => ProcessRole::Migrate(MigrationConfig::read(settings)),
            _ => ProcessRole::Api(ProviderConfig::read(settings)),
        };
        Self {
            process_role,
            host: HostConfig::read(settings, "identity", name)
                .with_expensive_paths(EXPENSIVE_PATHS),
            database: DatabaseConfig::read(settings, "vitrina identity", 16),
        }
    }
}

impl ProviderConfig {
    /// Reads `VITRINA_AUTH_ISSUER`, `VITRINA_AUTH_AUDIENCE`, `VITRINA_IDENTITY_KEY_FILE` and
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
