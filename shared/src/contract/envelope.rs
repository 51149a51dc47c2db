//! The envelope of every event, and how a consumer reads one.
//!
//! An event announces the whole state of an aggregate, never a difference: a consumer that missed
//! one is correct again after the next. The envelope has the attributes of `CloudEvents` 1.0 in
//! their JSON form; on AWS it is the `detail` of an EventBridge event.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::tagged::Tagged;

use crate::id::{EventId, RequestId};

/// The version of `CloudEvents` that the envelope follows.
pub(crate) const SPEC_VERSION: &str = "1.0";

/// Maximum size of a document in an event, so that every event fits into an entry of EventBridge,
/// which accepts 256 KB.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// The events of one producer: an enum with `#[serde(tag = "type", content = "data")]`.
pub trait Event: DeserializeOwned + Send + Sync + 'static {
    /// The `source` attribute of the events, such as `vitrina/inventory`. Rules of EventBridge
    /// match its [`event_bridge_source`](super::routes::event_bridge_source).
    const SOURCE: &'static str;

    /// The major version of the schema of `data` that this build writes and reads. Adding a field
    /// keeps the version; changing a meaning raises it.
    const SCHEMA_VERSION: i32;

    /// The `type` attribute of every variant.
    const TYPES: &'static [&'static str];

    /// The commands among [`TYPES`](Self::TYPES). An event reports a fact to any number of
    /// consumers; a command goes to exactly one queue.
    const COMMANDS: &'static [&'static str] = &[];

    /// The `type` attribute of this event.
    fn type_name(&self) -> &'static str;

    /// The id of the aggregate, if `data` repeats it. It must equal the envelope's `subject`.
    fn aggregate_id(&self) -> Option<Uuid>;

    /// The versions of the aggregates that `data` carries. Each is at least 1.
    fn versions(&self) -> impl Iterator<Item = i64>;
}

/// One event with its envelope.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Envelope")]
pub struct Envelope<E> {
    /// Always `1.0`.
    pub specversion: String,
    /// Names the change; a republish of the same change has the same id and another position.
    pub id: EventId,
    /// The producer, such as `vitrina/inventory`.
    pub source: String,
    /// The id of the aggregate, such as a product's.
    pub subject: Uuid,
    /// When the change was committed.
    pub time: DateTime<Utc>,
    /// Major version of the schema of `data`.
    pub schemaversion: i32,
    /// W3C trace context of the request that made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The request that made the change.
    pub requestid: RequestId,
    /// When that request arrived.
    pub requestedtime: DateTime<Utc>,
    /// When the relay handed the event to the bus.
    pub publishedtime: DateTime<Utc>,
    /// Position in the outbox; increases with every publish, including a republish.
    pub position: i64,
    /// Whether the change was announced before: a repair. Absent if it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub republished: bool,
    #[serde(flatten)]
    pub event: E,
}

/// An event as its producer stored it. It is published byte for byte, so that fields unknown to
/// this build are kept.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct WrittenEvent<'a> {
    #[serde(rename = "type")]
    pub type_name: &'static str,
    pub data: &'a RawValue,
}

impl<'a> WrittenEvent<'a> {
    /// Reads a stored event of `E`.
    ///
    /// # Errors
    /// If this build cannot read the event: a newer build stored it and will publish it.
    pub(crate) fn read<E: Event>(json: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Stored<'a> {
            #[serde(rename = "type", borrow)]
            type_name: Cow<'a, str>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let Stored { type_name, data } = serde_json::from_str(json)?;
        let event = Tagged::new(&type_name, data).read::<E>()?;
        Ok(Self { type_name: event.type_name(), data })
    }
}

/// A message body, read as one of the events `E`.
#[derive(Debug)]
pub enum Received<E> {
    Known(Box<Envelope<E>>),
    /// An event of a type that this build does not know: its producer may be newer.
    Unknown {
        type_name: String,
    },
}

/// The body is not an event, or has a value that this build does not accept.
#[derive(Debug, thiserror::Error)]
#[error("reading an event")]
pub struct UnreadableEvent(#[source] Fault);

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error("its specversion is {0:?}, not {SPEC_VERSION:?}")]
    SpecVersion(String),
    #[error("its source is {found:?}, not {expected:?}")]
    Source { found: String, expected: &'static str },
    #[error("its schemaversion is {found}, not {expected}")]
    SchemaVersion { found: i32, expected: i32 },
    #[error("it is about {subject} and carries {carried}")]
    Subject { subject: Uuid, carried: Uuid },
    #[error("{0} is not a valid version")]
    Version(i64),
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    Depth,
}

/// An envelope with unparsed `data`, so that its type can be checked first.
#[derive(Deserialize)]
struct RawEnvelope<'a> {
    specversion: String,
    id: EventId,
    source: String,
    subject: Uuid,
    time: DateTime<Utc>,
    schemaversion: i32,
    #[serde(default)]
    traceparent: Option<String>,
    requestid: RequestId,
    requestedtime: DateTime<Utc>,
    publishedtime: DateTime<Utc>,
    position: i64,
    #[serde(default)]
    republished: bool,
    #[serde(rename = "type", borrow)]
    type_name: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Reads a message body as one of the events `E`.
pub fn read<E: Event>(body: &str) -> Result<Received<E>, UnreadableEvent> {
    parse(body).map_err(UnreadableEvent)
}

fn parse<E: Event>(body: &str) -> Result<Received<E>, Fault> {
    let sealed: RawEnvelope = match serde_json::from_str(body) {
        Ok(sealed) => sealed,
        // An unknown type may have a different envelope, too.
        Err(error) => match type_of(body) {
            Some(type_name) if !is_known::<E>(&type_name) => {
                return Ok(Received::Unknown { type_name });
            }
            _ => return Err(error.into()),
        },
    };
    if !is_known::<E>(&sealed.type_name) {
        return Ok(Received::Unknown { type_name: sealed.type_name.into_owned() });
    }
    if is_too_deep(body) {
        return Err(Fault::Depth);
    }
    let event = Tagged::new(&sealed.type_name, sealed.data).read()?;
    let envelope = sealed.open(event);
    check(&envelope)?;
    Ok(Received::Known(Box::new(envelope)))
}

/// The limit of `serde_json`, which does not apply to the fields that it skips. Other readers of the same
/// message parse them.
const MAX_DEPTH: usize = 128;

/// Whether valid JSON is nested too deep.
fn is_too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn is_known<E: Event>(type_name: &str) -> bool {
    E::TYPES.contains(&type_name)
}

fn type_of(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "type")]
        type_name: String,
    }
    serde_json::from_str::<Head>(body).ok().map(|head| head.type_name)
}

impl RawEnvelope<'_> {
    fn open<E>(self, event: E) -> Envelope<E> {
        Envelope {
            specversion: self.specversion,
            id: self.id,
            source: self.source,
            subject: self.subject,
            time: self.time,
            schemaversion: self.schemaversion,
            traceparent: self.traceparent,
            requestid: self.requestid,
            requestedtime: self.requestedtime,
            publishedtime: self.publishedtime,
            position: self.position,
            republished: self.republished,
            event,
        }
    }
}

/// A message can parse as an event and still mean something else. Applying it would damage the
/// store of its consumer; as a dead letter it waits for a build that understands it.
fn check<E: Event>(envelope: &Envelope<E>) -> Result<(), Fault> {
    let Envelope { specversion, source, schemaversion, subject, event, .. } = envelope;
    if specversion != SPEC_VERSION {
        return Err(Fault::SpecVersion(specversion.clone()));
    }
    if source != E::SOURCE {
        return Err(Fault::Source { found: source.clone(), expected: E::SOURCE });
    }
    if *schemaversion != E::SCHEMA_VERSION {
        return Err(Fault::SchemaVersion { found: *schemaversion, expected: E::SCHEMA_VERSION });
    }
    if let Some(version) = event.versions().find(|version| *version < 1) {
        return Err(Fault::Version(version));
    }
    match event.aggregate_id() {
        Some(carried) if carried != *subject => Err(Fault::Subject { subject: *subject, carried }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn depth_is_limited_to_that_of_serde_json() {
        for (levels, is_deep) in [(MAX_DEPTH, false), (MAX_DEPTH + 1, true), (10_000, true)] {
            assert_eq!(is_too_deep(&nested(levels)), is_deep, "{levels}");
        }
        assert!(!is_too_deep(&"[],".repeat(1_000)));
    }

    #[test]
    fn brackets_in_strings_do_not_count_as_depth() {
        assert!(!is_too_deep(&format!(r#"{{"a": "\"{}"}}"#, "[".repeat(1_000))));
        assert!(is_too_deep(&format!(r#"{{"a": "\\", "b": {}}}"#, nested(1_000))));
    }
}
