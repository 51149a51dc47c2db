//! Events: what the write side announces and everybody else may rely on.
//!
//! An event announces the whole state of an aggregate, never a difference: whoever missed one is
//! right again with the next. The envelope has the attributes of `CloudEvents` 1.0 in their JSON
//! form; on AWS it is the `detail` of an EventBridge event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::inventory::{Event, SCHEMA_VERSION, SOURCE};

/// The version of `CloudEvents` that the envelope has.
const SPEC_VERSION: &str = "1.0";

/// The largest document that an event may have to carry, so that every event can be published:
/// EventBridge takes 256 KB in one entry.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// One event with its envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Envelope")]
pub struct Envelope<E = Event> {
    /// Always `1.0`.
    pub specversion: String,
    /// Names the change; a republish of the same change has the same id and another position.
    pub id: Uuid,
    /// Always [`SOURCE`].
    pub source: String,
    /// The aggregate: the product's id.
    pub subject: Uuid,
    /// When the change was committed.
    pub time: DateTime<Utc>,
    /// Major version of the schema of `data`.
    pub schemaversion: i32,
    /// W3C trace context of the request that made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The request that made the change.
    pub requestid: Uuid,
    /// When that request arrived.
    pub requestedtime: DateTime<Utc>,
    /// When the relay handed the event to the bus.
    pub publishedtime: DateTime<Utc>,
    /// Where in the outbox the event stood. Grows with every publish, also of an old change.
    pub position: i64,
    /// Whether the change was announced before: a repair. Absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub republished: bool,
    #[serde(flatten)]
    pub event: E,
}

/// An event as it was written down once, so that it is announced in the very same words: what this
/// build does not know of it is kept, and nothing is written anew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WrittenEvent<'a> {
    #[serde(rename = "type")]
    pub type_name: &'a str,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// What a message from the bus turned out to be.
#[derive(Debug)]
pub enum Received {
    Known(Box<Envelope>),
    /// An event of a type that this build does not know: newer writers are deployed first.
    Unknown {
        type_name: String,
    },
}

/// A message that is not an event, or none that this build can take for what it says.
#[derive(Debug, thiserror::Error)]
#[error("reading an event")]
pub struct UnreadableEvent(#[source] Fault);

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error("its specversion is {0:?}, not {SPEC_VERSION:?}")]
    SpecVersion(String),
    #[error("its source is {0:?}, not {SOURCE:?}")]
    Source(String),
    #[error("its schemaversion is {0}, not {SCHEMA_VERSION}")]
    SchemaVersion(i32),
    #[error("it is about {subject} and carries {carried}")]
    Subject { subject: Uuid, carried: Uuid },
    #[error("{0} is no version")]
    Version(i64),
}

/// Reads a message body.
pub fn read(body: &str) -> Result<Received, UnreadableEvent> {
    parse(body).map_err(UnreadableEvent)
}

fn parse(body: &str) -> Result<Received, Fault> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "type")]
        type_name: String,
    }
    let head: Head = serde_json::from_str(body)?;
    if !Event::TYPES.contains(&head.type_name.as_str()) {
        return Ok(Received::Unknown { type_name: head.type_name });
    }
    let envelope: Envelope = serde_json::from_str(body)?;
    check(&envelope)?;
    Ok(Received::Known(Box::new(envelope)))
}

/// What has the form of an event may still mean something else: projected, it would damage a
/// listing; buried, it waits for whoever knows what it means.
fn check(envelope: &Envelope) -> Result<(), Fault> {
    let Envelope { specversion, source, schemaversion, subject, event, .. } = envelope;
    if specversion != SPEC_VERSION {
        return Err(Fault::SpecVersion(specversion.clone()));
    }
    if source != SOURCE {
        return Err(Fault::Source(source.clone()));
    }
    if *schemaversion != SCHEMA_VERSION {
        return Err(Fault::SchemaVersion(*schemaversion));
    }
    let versions = [event.product().map(|p| p.version), event.stock().map(|s| s.version)];
    if let Some(version) = versions.into_iter().flatten().find(|version| *version < 1) {
        return Err(Fault::Version(version));
    }
    match event.product() {
        Some(product) if product.id != *subject => {
            Err(Fault::Subject { subject: *subject, carried: product.id })
        }
        _ => Ok(()),
    }
}
