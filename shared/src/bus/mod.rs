//! The bus: carries every published event to every queue whose route takes it, at least once and in
//! any order.
//!
//! The local edition's bus is a table in PostgreSQL; the queues behind it have what SQS has:
//! visibility timeout, attempts, dead letters. On AWS it is EventBridge, with SQS behind it.

pub mod aws;
pub mod dead_letters;
pub mod message;
pub mod postgres;
mod publish;
pub mod selection;
mod sqs_error;

use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::Settings;
use crate::contract::routes::Route;
use aws::EventBridge;
use postgres::PgBus;

pub use publish::{BusError, Outbound, Publish, Refused};

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Where to publish events.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// The name or ARN of an EventBridge bus. `None` selects the table of messages.
    pub event_bridge: Option<String>,
}

impl BusConfig {
    /// Reads `VITRINA_EVENT_BUS`, which a function requires.
    pub fn read(settings: &mut Settings) -> Self {
        let event_bridge = settings.optional("VITRINA_EVENT_BUS");
        if settings.is_function() && event_bridge.is_none() {
            settings.fault("VITRINA_EVENT_BUS is not set");
        }
        Self { event_bridge }
    }

    /// For a process that publishes nothing.
    pub fn none() -> Self {
        Self { event_bridge: None }
    }
}

/// The bus of an edition. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    Postgres(PgBus),
    EventBridge(EventBridge),
}

impl Bus {
    /// The bus that the settings name. On EventBridge, rules take the place of `routes`.
    pub async fn connect(
        config: &BusConfig,
        pool: &PgPool,
        clock: &Clock,
        routes: &'static [Route],
    ) -> Self {
        if let Some(bus) = &config.event_bridge {
            return Self::EventBridge(EventBridge::new(crate::aws::environment().await, bus));
        }
        Self::Postgres(PgBus::new(pool.clone(), clock.clone(), routes))
    }
}

impl Publish for Bus {
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        match self {
            Self::Postgres(bus) => bus.publish(events).await,
            Self::EventBridge(bus) => bus.publish(events).await,
        }
    }
}
