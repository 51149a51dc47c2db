//! The service's settings.

use shared::bus::aws::SqsConfig;
use shared::config::Settings;
use shared::database::DatabaseConfig;
use shared::dynamodb::listings_table;
use shared::host::HostConfig;
use shared::money::Currency;

/// What one process of the service does, and what only that needs.
#[derive(Clone, Debug)]
pub enum Role {
    /// Serves the public catalogue.
    Api { currency: Currency },
    /// Projects events into listings.
    Projector(Feed),
}

/// Where the projector's events come from.
#[derive(Clone, Debug)]
pub enum Feed {
    Table(DatabaseConfig),
    Sqs(SqsConfig),
}

impl Feed {
    /// A function is fed from SQS, and a process where [`SqsConfig::read`] finds something; else it
    /// is the queue table.
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
    /// `VITRINA_ROLE`, those of [`listings_table`] and [`HostConfig::read`], and those of the
    /// role: `VITRINA_CURRENCY`, or where its events come from ([`SqsConfig::read`], else
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
            table: listings_table(settings),
        }
    }
}
