//! Every SQL statement of the service.

mod error;
pub(crate) mod idempotency;
pub(crate) mod journal;
pub(crate) mod outbox;
pub(crate) mod products;
pub(crate) mod repairs;
pub(crate) mod stock;

use shared::http::request::RequestContext;
use shared::id::{EventId, UserId};

pub(crate) use error::WriteError;
pub(crate) use shared::database::{DecodeError, StoreError, doing};

use crate::event::EventRef;

/// What the journal keeps of a change besides its content: the actor, and the request.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub actor: UserId,
    pub event_id: EventId,
    pub request: RequestContext,
    /// In the actor's words, where the request carries any.
    pub reason: Option<String>,
}

/// An event as the journal keeps it.
pub(crate) fn to_json(event: &EventRef<'_>) -> Result<String, StoreError> {
    serde_json::to_string(event)
        .map_err(|error| sqlx::Error::Encode(error.into()))
        .map_err(doing("encoding an event for inventory.journal"))
}
