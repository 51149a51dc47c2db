//! The service's settings.

use std::str::FromStr;

use shared::config::{Secret, Settings};
use shared::database::DatabaseConfig;
use shared::host::process::ProcessConfig;
use shared::money::Currency;

/// What one process of the service does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Serves the public catalogue.
    #[default]
    Api,
    /// Projects events into listings.
    Projector,
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "api" => Ok(Self::Api),
            "projector" => Ok(Self::Projector),
            _ => Err("must be api or projector"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub process: ProcessConfig,
    pub table: String,
    pub currency: Currency,
    /// Where the queue is, for the projector.
    pub database: Option<DatabaseConfig>,
}

impl Config {
    /// `VITRINA_ROLE`, `VITRINA_LISTINGS_TABLE`, `VITRINA_CURRENCY`, and `DATABASE_URL`
    /// for the projector.
    pub fn read(settings: &mut Settings) -> Self {
        let role = settings.or("VITRINA_ROLE", Role::Api);
        let currency: Option<Currency> = settings.optional("VITRINA_CURRENCY");
        let database = (role == Role::Projector).then(|| DatabaseConfig {
            url: Secret::new(settings.required("DATABASE_URL")),
            max_connections: 4,
            application: "vitrina catalog",
        });
        Self {
            role,
            process: ProcessConfig::read(settings),
            table: settings.or("VITRINA_LISTINGS_TABLE", "listings".to_owned()),
            currency: currency.unwrap_or_default(),
            database,
        }
    }
}
