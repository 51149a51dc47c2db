//! An SQS queue. Each received message is settled by its outcome.
//!
//! Promise: a message is deleted only after it was handled, or after it was sent to the dead-letter
//! queue or to this queue again. The redrive policy of SQS records no reason and counts an outage
//! as an attempt, so it applies only to messages that crash their consumer.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::StalledStreamProtectionConfig;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::config::SqsConfig;
use super::entry::{BATCH, Sending, seconds};
use crate::aws;
use crate::bus::message::{MAX_ATTEMPTS, Outcome, brief};
use crate::bus::sqs_error::{SqsError, during};
use crate::clock::Clock;
use crate::telemetry;

const ATTEMPTS: u32 = 3;

/// The attributes of a dead letter.
pub(super) const REASON: &str = "reason";
pub(super) const ATTEMPTS_MADE: &str = "attempts";
pub(super) const SENT_AT: &str = "sent_at";
pub(super) const DEAD_AT: &str = "dead_at";

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsMessage {
    pub id: String,
    /// Identifies this delivery of the message.
    pub receipt: String,
    pub body: String,
    pub sent_at: DateTime<Utc>,
    /// Number of receives, including this one.
    pub attempts: i32,
}

/// The delays of a queue. All but `call` are sent to SQS, which accepts whole seconds only.
#[derive(Clone, Copy, Debug)]
pub struct SqsTimings {
    /// Visibility timeout of a received message. A consumer extends it while it works.
    pub visibility: Duration,
    /// How long SQS waits for a message before it responds with an empty batch.
    pub long_poll: Duration,
    /// Backoff after the first failure; four times as long after each further one.
    pub pause: Duration,
    /// Backoff of a message after a long outage of its store.
    pub after_outage: Duration,
    /// Timeout of one attempt of a call, beyond the long poll that it asks for.
    pub call: Duration,
}

impl Default for SqsTimings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            // The maximum of SQS, because an empty response costs as much as any other.
            long_poll: Duration::from_secs(20),
            pause: Duration::from_secs(1),
            after_outage: Duration::from_secs(15),
            call: Duration::from_secs(3),
        }
    }
}

/// One consumer's queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    pub(super) client: Client,
    clock: Clock,
    url: String,
    dead_letters: String,
    timings: SqsTimings,
}

/// Settled messages: the ones to delete, and the ones that SQS will redeliver.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub done: Vec<SqsMessage>,
    pub again: Vec<SqsMessage>,
}

impl SqsQueue {
    /// The queue that the settings name.
    pub async fn connect(config: &SqsConfig, clock: &Clock) -> Self {
        Self::new(aws::environment().await, clock.clone(), config)
    }

    /// The queue that `config` names.
    pub fn new(environment: &SdkConfig, clock: Clock, config: &SqsConfig) -> Self {
        let SqsConfig { queue, dead_letters } = config.clone();
        let timings = SqsTimings::default();
        let config = aws_sdk_sqs::config::Builder::from(environment)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(attempt_timeout(timings.call))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), clock, url: queue, dead_letters, timings }
    }

    #[must_use]
    pub fn with_timings(self, timings: SqsTimings) -> Self {
        let config = self.client.config().to_builder();
        let config = config.timeout_config(attempt_timeout(timings.call)).build();
        Self { client: Client::from_conf(config), timings, ..self }
    }

    /// Half of the visibility timeout: when to extend it.
    pub(crate) fn half_visibility(&self) -> Duration {
        self.timings.visibility / 2
    }

    /// Receives up to ten messages, or an empty batch if none arrives during a long poll.
    pub async fn receive(&self) -> Result<Vec<SqsMessage>, SqsError> {
        let SqsTimings { visibility, long_poll, .. } = self.timings;
        let messages = self.receive_from(&self.url, visibility, long_poll).await?;
        Ok(messages.into_iter().filter_map(SqsMessage::read).collect())
    }

    pub(super) async fn receive_from(
        &self,
        url: &str,
        visibility: Duration,
        long_poll: Duration,
    ) -> Result<Vec<Message>, SqsError> {
        let timeouts = attempt_timeout(long_poll + self.timings.call);
        let timeouts = aws_sdk_sqs::config::Builder::new().timeout_config(timeouts);
        let response = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(int(BATCH))
            .visibility_timeout(seconds(visibility))
            .wait_time_seconds(seconds(long_poll))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .customize()
            .config_override(timeouts)
            .send()
            .await
            .map_err(during("receiving messages"))?;
        Ok(response.messages.unwrap_or_default())
    }

    /// Extends the visibility timeout of messages that are still being handled.
    pub async fn extend(&self, messages: &[SqsMessage]) {
        let receipts =
            messages.iter().map(|message| (message.receipt.clone(), self.timings.visibility));
        self.change_visibility(&self.url, receipts.collect()).await;
    }

    /// Settles received messages, each by its outcome. The caller must still delete the messages
    /// that are done.
    pub async fn settle(&self, outcomes: Vec<(SqsMessage, Outcome)>) -> Settled {
        let mut settled = Settled::default();
        let (mut dead, mut postponed, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
        for (message, outcome) in outcomes {
            match outcome {
                Outcome::Done => settled.done.push(message),
                Outcome::Retry { .. } if message.attempts < MAX_ATTEMPTS => {
                    pauses.push((message.receipt.clone(), self.pause(message.attempts)));
                    settled.again.push(message);
                }
                Outcome::Later { .. } if message.attempts + 1 < MAX_ATTEMPTS => {
                    pauses.push((message.receipt.clone(), self.pause(message.attempts)));
                    settled.again.push(message);
                }
                Outcome::Later { .. } => {
                    let body = message.body.clone();
                    let sending =
                        Sending { body, delay: self.timings.after_outage, ..Sending::default() };
                    postponed.push((message, sending));
                }
                Outcome::Retry { reason } | Outcome::Dead { reason } => {
                    let sending = self.dead_letter(&message, &reason);
                    dead.push((message, sending));
                }
            }
        }
        self.change_visibility(&self.url, pauses).await;
        // After more receives, the message would look like one that crashes its consumer. A new
        // copy can wait for its store as long as the outage lasts.
        for (url, leaving) in [(&self.url, postponed), (&self.dead_letters, dead)] {
            let (messages, sendings): (Vec<_>, Vec<_>) = leaving.into_iter().unzip();
            let sent = self.send(url, sendings).await;
            for (message, sent) in messages.into_iter().zip(sent) {
                match sent {
                    Ok(()) => {
                        if *url == self.dead_letters {
                            metrics::counter!("vitrina_events_buried_total").increment(1);
                        }
                        settled.done.push(message);
                    }
                    Err(error) => {
                        let error = telemetry::causes(&error);
                        tracing::warn!(
                            queue.message_id = message.id,
                            error,
                            "a message could not be moved and will be redelivered"
                        );
                        settled.again.push(message);
                    }
                }
            }
        }
        settled
    }

    /// Deletes messages that are done. A message that could not be deleted is redelivered, which
    /// consumers expect.
    pub async fn delete(&self, messages: &[SqsMessage]) -> Result<(), SqsError> {
        let receipts = messages.iter().map(|message| message.receipt.clone()).collect();
        for deleted in self.delete_from(&self.url, receipts).await {
            deleted?;
        }
        Ok(())
    }

    /// A message as a dead letter, with its reason.
    fn dead_letter(&self, message: &SqsMessage, reason: &str) -> Sending {
        let attributes = [
            (REASON, text(&printable(reason))),
            (ATTEMPTS_MADE, text(&message.attempts.to_string())),
            (SENT_AT, text(&message.sent_at.to_rfc3339())),
            (DEAD_AT, text(&self.clock.now().to_rfc3339())),
        ];
        Sending {
            body: message.body.clone(),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
            delay: Duration::ZERO,
        }
    }

    /// Backoff of a message after this many attempts.
    fn pause(&self, attempts: i32) -> Duration {
        let exponent = u32::try_from(attempts.clamp(1, 4) - 1).unwrap_or(0);
        self.timings.pause * 4_u32.pow(exponent)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn dead_letters(&self) -> &str {
        &self.dead_letters
    }
}

impl SqsMessage {
    /// `None` if SQS omitted a required field.
    fn read(message: Message) -> Option<Self> {
        let (sent_at, attempts) = (sent_at(&message)?, count_of(&message));
        Some(Self {
            id: message.message_id?,
            receipt: message.receipt_handle?,
            body: message.body?,
            sent_at,
            attempts,
        })
    }

    /// The envelope. A rule of EventBridge without a transformation sends its own event, in which
    /// ours is the `detail`.
    pub fn event(&self) -> &str {
        event_in(&self.body)
    }
}

/// The envelope in a message body: the whole body, or the `detail` of an event of EventBridge.
pub(super) fn event_in(body: &str) -> &str {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(rename = "detail-type")]
        _detail_type: String,
        #[serde(borrow)]
        detail: &'a RawValue,
    }
    serde_json::from_str::<Wrapped>(body).map_or(body, |wrapped| wrapped.detail.get())
}

/// Number of receives of a message, including this one.
pub(super) fn count_of(message: &Message) -> i32 {
    let attributes = message.attributes.as_ref();
    let count = attributes
        .and_then(|all| all.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|count| count.parse().ok());
    count.unwrap_or(1)
}

pub(super) fn sent_at(message: &Message) -> Option<DateTime<Utc>> {
    let milliseconds =
        message.attributes.as_ref()?.get(&MessageSystemAttributeName::SentTimestamp)?;
    DateTime::from_timestamp_millis(milliseconds.parse().ok()?)
}

/// A reason without the characters that SQS refuses.
fn printable(reason: &str) -> String {
    let kept: String = brief(reason).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    if kept.is_empty() { "no reason".to_owned() } else { kept }
}

fn text(value: &str) -> MessageAttributeValue {
    let mut attribute = MessageAttributeValue::builder().string_value(value);
    attribute = attribute.data_type("String");
    // Building fails only without a type.
    attribute.build().unwrap_or_else(|_| unreachable!("it has a type"))
}

fn attempt_timeout(timeout: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(timeout).build()
}

fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_found_with_and_without_the_eventbridge_wrapper() {
        let event = r#"{"type":"ProductUpdated","position": 1.0}"#;
        let wrapped = format!(
            r#"{{"version":"0","id":"1","detail-type":"ProductUpdated","source":"vitrina.inventory",
                "account":"1","time":"2026-01-01T00:00:00Z","region":"x","resources":[],
                "detail":{event}}}"#
        );
        assert_eq!(event_in(&wrapped), event);
        assert_eq!(event_in(event), event);
        assert_eq!(event_in("no JSON"), "no JSON");
        assert_eq!(event_in(r#"{"detail":{}}"#), r#"{"detail":{}}"#);
    }

    #[test]
    fn reason_has_only_characters_that_sqs_takes() {
        assert_eq!(printable("found `\u{ffff}\0`"), "found `\u{fffd}\u{fffd}`");
        assert_eq!(printable(""), "no reason");
    }
}
