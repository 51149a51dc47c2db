//! Every SQL statement of the service.

pub(crate) mod group_commit;
pub(crate) mod idempotency;
pub(crate) mod journal;
pub(crate) mod outbox;
pub(crate) mod products;
pub(crate) mod repairs;
pub(crate) mod stock;

use shared::contract::events::Event;
use shared::http::request::RequestContext;
use uuid::Uuid;

/// What the journal keeps of a change beside its content: who made it, and on whose request.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub actor: Uuid,
    pub event_id: Uuid,
    pub request: RequestContext,
    /// In the actor's words, where the request carries any.
    pub reason: Option<String>,
}

/// An event as the journal keeps it.
fn to_json(event: &Event) -> Result<String, sqlx::Error> {
    serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// An event as the journal kept it.
fn from_json(json: &str) -> Result<Event, sqlx::Error> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()))
}
