//! The service's settings.

use shared::bus::aws::SqsConfig;
use shared::config::Settings;
use shared::contract::listing;
use shared::database::DatabaseConfig;
use shared::host::HostConfig;
use shared::money::Currency;

/// What one process of the service does, with the settings that only this needs.
#[derive(Clone, Debug)]
pub enum Role {
    /// Serves the public catalogue.
    Api { currency: Currency },
    /// Projects events into listings.
    Projector(Feed),
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
            None => Self::Table(DatabaseConfig::read(settings, "vitrina catalog", 4)),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    pub host: HostConfig,
    pub table: String,
}

impl Config {
    /// Reads `VITRINA_ROLE`, the settings of [`listing::table_name`] and [`HostConfig::read`], and those
    /// of the role: `VITRINA_CURRENCY`, or the source of its events ([`SqsConfig::read`], else
    /// [`DatabaseConfig::read`]).
    pub fn read(settings: &mut Settings) -> Self {
        let name = settings.one_of("VITRINA_ROLE", ["api", "projector"]);
        let role = if name == "projector" {
            Role::Projector(Feed::read(settings))
        } else {
            let currency: Option<Currency> = settings.optional("VITRINA_CURRENCY");
            Role::Api { currency: currency.unwrap_or_default() }
        };
        Self {
            role,
            host: HostConfig::read(settings, "catalog", name),
            table: listing::table_name(settings),
        }
    }
}
