//! The bus: carries every published event to every queue that wants it, at least once.
//!
//! The local edition's bus is a table in PostgreSQL; the queues behind it have what SQS has:
//! visibility timeout, attempts, dead letters. On AWS it is EventBridge, and behind it SQS itself.
//! Order is nobody's promise: the fences of the listings make it harmless.

pub mod dead_letters;
mod event_bridge;
#[cfg(feature = "failpoints")]
pub mod faulty;
pub mod queue;
pub mod sqs;
pub mod sqs_dead_letters;

use std::sync::Arc;

use aws_sdk_eventbridge::error::SdkError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use sqlx::PgPool;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::aws;
use crate::clock::Clock;
use crate::config::Settings;
use crate::contract::CATALOG_QUEUE;

pub use event_bridge::EventBridge;

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
    #[cfg(feature = "failpoints")]
    Faulty(faulty::FaultyBus),
}

impl Bus {
    /// The bus that the settings name.
    pub async fn connect(config: &BusConfig, pool: &PgPool, clock: &Clock) -> Self {
        if let Some(bus) = &config.event_bridge {
            return Self::EventBridge(EventBridge::new(aws::environment().await, bus));
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
            #[cfg(feature = "failpoints")]
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
    #[cfg(feature = "failpoints")]
    #[error("the bus was told to fail")]
    Planted,
}

/// The local edition's bus.
#[derive(Clone, Debug)]
pub struct PgBus {
    pool: PgPool,
    clock: Clock,
    queues: Arc<[String]>,
    /// Wakes the consumers of this process; those of others look by themselves.
    nudge: Arc<Notify>,
}

impl PgBus {
    /// A bus that carries every event to each of `queues`.
    pub fn new(pool: PgPool, clock: Clock, queues: &[&str], nudge: Arc<Notify>) -> Self {
        let queues = queues.iter().map(|&queue| queue.to_owned()).collect();
        Self { pool, clock, queues, nudge }
    }

    /// All or nothing: it is one statement.
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        // Nobody wants them, as when a relay is measured alone.
        if self.queues.is_empty() {
            return Ok(vec![Ok(()); events.len()]);
        }
        let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
        let types: Vec<String> = events.iter().map(|event| event.event_type.to_owned()).collect();
        let subjects: Vec<Uuid> = events.iter().map(|event| event.subject).collect();
        let bodies: Vec<String> = events.iter().map(|event| event.body.clone()).collect();
        sqlx::query!(
            "insert into bus.messages
                 (queue, event_id, event_type, subject, body, sent_at, visible_at)
             select queue, event_id, event_type, subject, body, $6, $6
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[])
                  with ordinality as event (event_id, event_type, subject, body, nth)
             cross join unnest($5::text[]) as queue
             order by nth",
            &ids,
            &types,
            &subjects,
            &bodies,
            &self.queues as &[String],
            self.clock.now(),
        )
        .execute(&self.pool)
        .await?;
        self.nudge.notify_one();
        Ok(vec![Ok(()); events.len()])
    }
}
