//! Events to publish, and the promise of every bus.

use aws_sdk_eventbridge::error::SdkError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use uuid::Uuid;

use crate::id::EventId;

/// An event on its way to the bus.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub event_id: EventId,
    /// The `source` of the envelope, by which routes and rules match.
    pub source: &'static str,
    pub event_type: &'static str,
    pub subject: Uuid,
    /// The envelope as JSON.
    pub body: String,
}

/// Why the bus refused an event, or may not have accepted it. The event stays pending and is
/// published later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus refused the event: {0}")]
pub struct Refused(pub String);

/// Publishes events: a bus, or a test double.
pub trait Publish: Clone + Send + Sync + 'static {
    /// Publishes `events` and returns one result for each.
    ///
    /// # Errors
    /// If the bus could not be reached or did not respond. Each event may still have been
    /// published.
    fn publish(
        &self,
        events: &[Outbound],
    ) -> impl Future<Output = Result<Vec<Result<(), Refused>>, BusError>> + Send;
}

/// The bus could not be reached or did not respond.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("writing events to the table of messages")]
    Postgres(#[from] sqlx::Error),
    #[error("putting events on the bus of EventBridge")]
    EventBridge(#[source] Box<SdkError<PutEventsError>>),
    #[error("the bus did not respond in time")]
    NoResponse,
}
