//! What is published, and what every bus promises of it.

use aws_sdk_eventbridge::error::SdkError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use uuid::Uuid;

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
