//! The bus: carries every published event to every queue that wants it, at least once.
//!
//! The local edition's bus is a table in PostgreSQL; the queues behind it have what SQS has:
//! visibility timeout, attempts, dead letters. On AWS it is EventBridge, and behind it SQS itself.
//! Order is nobody's promise: the fences of the listings make it harmless.

pub mod aws;
pub mod dead_letter;
pub mod dead_letters;
#[cfg(feature = "testkit")]
pub mod faulty;
pub mod message;
pub mod postgres;

use std::sync::Arc;

use aws_sdk_eventbridge::error::SdkError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use sqlx::PgPool;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Settings;
use crate::contract::CATALOG_QUEUE;

use aws::EventBridge;
use postgres::PgBus;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// An event on its way out.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub event_id: Uuid,
    pub event_type: &'static str,
    pub subject: Uuid,
    /// The envelope as JSON.
    pub body: String,
}

/// Why the bus did not take an event, or is not known to have taken it. It stays pending and is
/// published later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus refused the event: {0}")]
pub struct Refused(pub String);

/// Where events are to be published.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// The name or ARN of a bus of EventBridge; without one, it is the queue table.
    pub event_bridge: Option<String>,
}

impl BusConfig {
    /// `VITRINA_EVENT_BUS`, without which a function does not start.
    pub fn read(settings: &mut Settings) -> Self {
        let event_bridge = settings.optional("VITRINA_EVENT_BUS");
        if settings.is_function() && event_bridge.is_none() {
            settings.fault("VITRINA_EVENT_BUS is not set");
        }
        Self { event_bridge }
    }

    /// For who publishes nothing.
    pub fn none() -> Self {
        Self { event_bridge: None }
    }
}

/// Where events are published. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    Postgres(PgBus),
    EventBridge(EventBridge),
    #[cfg(feature = "testkit")]
    Faulty(faulty::FaultyBus),
}

impl Bus {
    /// The bus that the settings name.
    pub async fn connect(config: &BusConfig, pool: &PgPool, clock: &Clock) -> Self {
        if let Some(bus) = &config.event_bridge {
            return Self::EventBridge(EventBridge::new(crate::aws::environment().await, bus));
        }
        let queues = [CATALOG_QUEUE];
        Self::Postgres(PgBus::new(pool.clone(), clock.clone(), &queues, Arc::default()))
    }

    /// Publishes `events` and says of each one whether it was taken.
    ///
    /// # Errors
    /// When the bus could not be asked, or did not answer: then each event may have been taken.
    pub async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        match self {
            Self::Postgres(bus) => bus.publish(events).await,
            Self::EventBridge(bus) => bus.publish(events).await,
            #[cfg(feature = "testkit")]
            Self::Faulty(bus) => bus.publish(events).await,
        }
    }
}

/// The bus could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("writing events to the queue table")]
    Postgres(#[from] sqlx::Error),
    #[error("putting events on the bus of EventBridge")]
    EventBridge(#[source] Box<SdkError<PutEventsError>>),
    #[error("EventBridge did not answer in time")]
    NoAnswer,
    #[cfg(feature = "testkit")]
    #[error("the bus was told to fail")]
    Planted,
}
