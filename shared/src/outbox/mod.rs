//! The outbox of a producer: events that are committed and not yet published.
//!
//! A producer writes a pointer to its event in the transaction that makes the event true. The
//! [`Relay`] publishes the events that the pointers refer to; the producer supplies only the SQL.

mod before_response;
mod relay;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::contract::envelope::Event;
use crate::id::{EventId, RequestId};

pub use before_response::publish_before_responses;
pub use relay::{Relay, RelayError, RelayTimeouts};

/// The longest time for which the relay delays a pointer. One that is delayed until later than that was
/// delayed before the clock was set back, and is due.
pub const MAX_DELAY: TimeDelta = relay::UNREADABLE_BACKOFF;

/// The statements on the outbox of one producer.
pub trait Outbox: Clone + Send + Sync + 'static {
    /// The events that its pointers refer to.
    type Event: Event;

    /// Claims the oldest `limit` pointers that are due, for as long as the transaction lasts: those that
    /// are not delayed, delayed until `now` or earlier, or for longer than [`MAX_DELAY`]. Pointers claimed
    /// by another relay are skipped.
    fn claim(
        &self,
        transaction: &mut PgConnection,
        now: DateTime<Utc>,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Claimed>, sqlx::Error>> + Send;

    /// Deletes the pointers of published events.
    fn delete(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Delays pointers until `not_before`, so that they do not hold up the others.
    fn put_off(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
        not_before: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Measures the backlog.
    fn backlog(&self, pool: &PgPool) -> impl Future<Output = Result<Backlog, sqlx::Error>> + Send;
}

/// A claimed pointer and the change that it refers to.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Increases with every pointer, including a pointer to a change that was announced before.
    pub position: i64,
    /// The id of the aggregate.
    pub subject: Uuid,
    /// When the pointer was written: later than the commit if it announces the change again.
    pub pointed_at: DateTime<Utc>,
    /// `None` if the change does not exist.
    pub entry: Option<Entry>,
}

/// A committed change to announce.
#[derive(Clone, Debug)]
pub struct Entry {
    pub event_id: EventId,
    /// `{"type": .., "data": ..}`, published in these bytes.
    pub event: String,
    pub traceparent: String,
    pub request_id: RequestId,
    pub requested_at: DateTime<Utc>,
    pub committed_at: DateTime<Utc>,
}

/// The pending events and requests of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    pub pending: i64,
    pub oldest_committed_at: Option<DateTime<Utc>>,
    /// Requests that have not become events yet, such as repairs.
    pub requested: i64,
}
