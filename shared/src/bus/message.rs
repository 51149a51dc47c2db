//! What both kinds of queue say of a message: its outcomes, its limits, and how deep a queue is.

use chrono::{DateTime, TimeDelta, Utc};

/// How often a message is tried before it is a dead letter.
pub(crate) const MAX_ATTEMPTS: i32 = 5;

/// How long a message may wait before it is a dead letter: as long as SQS keeps one.
pub const MESSAGE_KEPT: TimeDelta = TimeDelta::days(14);

/// How long after it was sent an event can still come back, redriven or not. A tombstone outlives
/// it, so that nothing raises the dead.
pub const DEAD_LETTER_KEPT: TimeDelta = TimeDelta::days(28);

/// What became of a received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handled; it is deleted.
    Done,
    /// It did not work this time; it comes again after a while, or is a dead letter if that was
    /// its last attempt.
    Retry { reason: String },
    /// It could not be tried, through no fault of its own; it comes again soon, and the attempt
    /// does not count.
    Later { reason: String },
    /// It can never work; it is a dead letter now and blocks nobody.
    Dead { reason: String },
}

/// The state of a queue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct QueueDepth {
    pub queue: String,
    /// Messages that can be received now.
    pub visible: i64,
    /// Messages that are being handled, or wait for another attempt.
    pub in_flight: i64,
    pub dead_letters: i64,
    /// None where there is no message, or where the queue does not tell.
    pub oldest_sent_at: Option<DateTime<Utc>>,
}

/// The most that is kept of a reason, in characters.
const REASON_KEPT: usize = 300;

/// A reason as it is kept and logged. It may quote what was sent, so it is cut, and has none of the
/// characters that PostgreSQL does not take or a terminal obeys.
pub(crate) fn brief(reason: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    reason.chars().map(printable).take(REASON_KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reason_quotes_can_be_kept_and_printed() {
        assert_eq!(brief("found `\0` and \x1b[2J"), "found `\u{fffd}` and \u{fffd}[2J");
        assert_eq!(brief(&"é".repeat(1_000)), "é".repeat(REASON_KEPT));
        assert_eq!(brief("all of it"), "all of it");
    }
}
