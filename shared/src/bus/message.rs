//! Outcomes and limits of a message and the depth of a queue, for the queues of both editions.

use chrono::{DateTime, TimeDelta, Utc};

/// Attempts before a message becomes a dead letter.
pub(crate) const MAX_ATTEMPTS: i32 = 5;

/// How long a message may wait before it becomes a dead letter: the longest retention of SQS.
pub(crate) const MESSAGE_KEPT: TimeDelta = TimeDelta::days(14);

/// How long after it was sent an event can still arrive, including after a redrive. Tombstones are
/// kept longer, so that a late event cannot recreate a deleted listing.
pub const DEAD_LETTER_KEPT: TimeDelta = TimeDelta::days(28);

/// The result of handling a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handled: it is deleted.
    Done,
    /// Failed: it is redelivered after a backoff, or becomes a dead letter after its last attempt.
    Retry { reason: String },
    /// Could not be tried, as when a store does not respond: it is redelivered soon, and the attempt
    /// does not count.
    Later { reason: String },
    /// Can never be handled: it becomes a dead letter at once, and others are not held up.
    Dead { reason: String },
}

/// The depth of a queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct QueueDepth {
    pub queue: String,
    /// Messages that can be received now.
    pub visible: i64,
    /// Messages that are being handled, or wait for another attempt.
    pub in_flight: i64,
    pub dead_letters: i64,
    /// Null if the queue is empty, or if it does not report it.
    pub oldest_sent_at: Option<DateTime<Utc>>,
}

/// The longest reason that is stored, in characters.
const REASON_KEPT: usize = 300;

/// A reason as it is stored and logged. It may quote the message, so it is cut, and control characters
/// are replaced: PostgreSQL refuses some of them, and a terminal would obey others.
pub(crate) fn brief(reason: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    reason.chars().map(printable).take(REASON_KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brief_reason_is_short_and_printable() {
        assert_eq!(brief("found `\0` and \x1b[2J"), "found `\u{fffd}` and \u{fffd}[2J");
        assert_eq!(brief(&"é".repeat(1_000)), "é".repeat(REASON_KEPT));
        assert_eq!(brief("all of it"), "all of it");
    }
}
