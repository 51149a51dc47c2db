//! The service's settings.

use std::path::PathBuf;
use std::str::FromStr;

use shared::config::{Secret, Settings};
use shared::database::DatabaseConfig;
use shared::host::process::ProcessConfig;

/// What one process of the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Serves sign-up, log-in and the key set.
    #[default]
    Api,
    /// Brings the schema up to date, and ends.
    Migrate,
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "api" => Ok(Self::Api),
            "migrate" => Ok(Self::Migrate),
            _ => Err("must be api or migrate"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub process: ProcessConfig,
    pub database: DatabaseConfig,
    pub provider: ProviderConfig,
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
    /// `VITRINA_ROLE`, `DATABASE_URL`, `VITRINA_DATABASE_CONNECTIONS`, and those of
    /// [`ProviderConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            role: settings.or("VITRINA_ROLE", Role::Api),
            process: ProcessConfig::read(settings),
            database: DatabaseConfig {
                url: Secret::new(settings.required("DATABASE_URL")),
                max_connections: settings.or("VITRINA_DATABASE_CONNECTIONS", 16),
                application: "vitrina identity",
            },
            provider: ProviderConfig::read(settings),
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
