//! The bus: carries every published event to every queue whose route takes it, at least once and in
//! any order.
//!
//! The local edition's bus is a table in PostgreSQL; the queues behind it have what SQS has:
//! visibility timeout, attempts, dead letters. On AWS it is EventBridge, with SQS behind it.

pub mod aws;
pub mod dead_letter;
pub mod dead_letters;
pub mod message;
pub mod postgres;

use aws_sdk_eventbridge::error::SdkError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use sqlx::PgPool;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Settings;
use crate::contract::routes::Route;
use aws::EventBridge;
use postgres::PgBus;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// An event on its way to the bus.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub event_id: Uuid,
    /// The `source` of its envelope, by which routes and rules match.
    pub source: &'static str,
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
    /// The name or ARN of a bus of EventBridge; without one, the bus is the table of messages.
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

    /// For a role that publishes nothing.
    pub fn none() -> Self {
        Self { event_bridge: None }
    }
}

/// Takes events: a bus, or one that a test puts in its place.
pub trait Publish: Clone + Send + Sync + 'static {
    /// Publishes `events` and returns for each one whether it was taken.
    ///
    /// # Errors
    /// If the bus could not be asked, or did not answer: then each event may have been taken.
    fn publish(
        &self,
        events: &[Outbound],
    ) -> impl Future<Output = Result<Vec<Result<(), Refused>>, BusError>> + Send;
}

/// The bus of an edition. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    Postgres(PgBus),
    EventBridge(EventBridge),
}

impl Bus {
    /// The bus that the settings name. EventBridge has rules in the place of `routes`.
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

/// The bus could not be asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("writing events to the table of messages")]
    Postgres(#[from] sqlx::Error),
    #[error("putting events on the bus of EventBridge")]
    EventBridge(#[source] Box<SdkError<PutEventsError>>),
    #[error("the bus did not answer in time")]
    NoAnswer,
}
