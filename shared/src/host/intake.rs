//! Passes events from a queue to a handler, in batches, and settles each by its own result.
//!
//! An unreadable message becomes a dead letter at once, so that it does not hold up the others. An
//! event of an unknown type is ignored and counted.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::bus::message::{self, Outcome};
use crate::bus::postgres::{Message, Queue};
use crate::clock::Clock;
use crate::contract::envelope::{self, Envelope, Event, Received};
use crate::failpoint;
use crate::host::tick::{self, Progress};
use crate::telemetry;

/// Messages in one batch.
const BATCH: i64 = 100;

/// How often to poll the queue: a bus in another process cannot nudge this one.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often to look for messages that have waited too long.
const EXPIRE_INTERVAL: Duration = Duration::from_hours(1);

/// An event that was received.
#[derive(Clone, Debug)]
pub struct Delivery<E> {
    pub envelope: Envelope<E>,
    pub received_at: DateTime<Utc>,
}

/// Why an event was not handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A store does not respond. The attempt does not count: the event is not the cause.
    #[error("a store does not respond: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Failed(String),
}

/// Handles the events of one producer.
pub trait Handler: Send + Sync {
    /// The events that it handles. A message of another type is ignored and counted.
    type Event: Event;

    /// What traces call the work on one event.
    const SPAN: &'static str;

    /// Handles a batch: one result for each delivery, in order.
    fn handle(
        &self,
        deliveries: &[Delivery<Self::Event>],
    ) -> impl Future<Output = Vec<Result<(), Failure>>> + Send;
}

/// A received message of either kind of queue.
pub(crate) trait Incoming {
    /// The envelope as JSON.
    fn event(&self) -> &str;

    /// Its id in its queue.
    fn id(&self) -> String;
}

impl Incoming for Message {
    fn event(&self) -> &str {
        &self.body
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Receives one batch, handles it and settles it.
pub async fn once(
    queue: &Queue,
    clock: &Clock,
    handler: &impl Handler,
) -> Result<Progress, sqlx::Error> {
    let messages = queue.receive(BATCH).await?;
    if messages.is_empty() {
        queue.make_exhausted_dead_letters().await?;
        return Ok(Progress::Idle);
    }
    failpoint::reach("intake.received").await;
    let full = i64::try_from(messages.len()).is_ok_and(|count| count == BATCH);
    let outcomes = work(messages, clock, handler).await;
    failpoint::reach("intake.handled").await;
    let unavailable = is_unavailable(&outcomes);
    queue.settle(outcomes).await?;
    failpoint::reach("intake.settled").await;
    Ok(if full && !unavailable { Progress::More } else { Progress::Idle })
}

/// Passes messages to the handler, and returns the outcome of each.
pub(crate) async fn work<M: Incoming, H: Handler>(
    messages: Vec<M>,
    clock: &Clock,
    handler: &H,
) -> Vec<(M, Outcome)> {
    let received_at = clock.now();
    let mut outcomes = Vec::with_capacity(messages.len());
    let mut unavailable = 0;
    let (mut deliveries, mut readable): (Vec<Delivery<H::Event>>, Vec<M>) =
        (Vec::new(), Vec::new());
    for message in messages {
        match envelope::read(message.event()) {
            Ok(Received::Known(envelope)) => {
                deliveries.push(Delivery { envelope: *envelope, received_at });
                readable.push(message);
            }
            Ok(Received::Unknown { type_name }) => {
                metrics::counter!("vitrina_events_ignored_total").increment(1);
                tracing::debug!(event.r#type = type_name, "ignored an event of an unknown type");
                outcomes.push((message, Outcome::Done));
            }
            Err(error) => {
                let reason = message::brief(&format!("unreadable: {}", telemetry::causes(&error)));
                tracing::warn!(queue.message_id = message.id(), reason, "made a dead letter");
                outcomes.push((message, Outcome::Dead { reason }));
            }
        }
    }
    if !deliveries.is_empty() {
        // One span an event, since each belongs to its own trace. They end together.
        let spans: Vec<Span> =
            deliveries.iter().map(|delivery| span_of(H::SPAN, delivery)).collect();
        let results = handler.handle(&deliveries).await;
        drop(spans);
        for (message, result) in readable.into_iter().zip(results) {
            let outcome = match result {
                Ok(()) => Outcome::Done,
                Err(Failure::Unavailable(reason)) => {
                    unavailable += 1;
                    Outcome::Later { reason }
                }
                Err(Failure::Failed(reason)) => {
                    tracing::warn!(queue.message_id = message.id(), reason, "an event failed");
                    Outcome::Retry { reason }
                }
            };
            outcomes.push((message, outcome));
        }
    }
    if unavailable > 0 {
        tracing::warn!(
            events = unavailable,
            "a store does not respond; its events are redelivered"
        );
    }
    outcomes
}

/// Whether a store did not respond: then the next batch would fail as well.
pub(crate) fn is_unavailable<M>(outcomes: &[(M, Outcome)]) -> bool {
    outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Later { .. }))
}

fn span_of<E>(name: &str, delivery: &Delivery<E>) -> Span {
    let Envelope { id, traceparent, .. } = &delivery.envelope;
    let span =
        tracing::info_span!("handle", otel.name = name, otel.kind = "consumer", event.id = %id);
    if let Some(traceparent) = traceparent {
        telemetry::continue_trace(&span, traceparent);
    }
    span
}

/// Consumes `queue` until `stop`.
pub async fn consume(
    queue: Queue,
    clock: Clock,
    handler: &impl Handler,
    nudge: Arc<Notify>,
    stop: CancellationToken,
) {
    let expire = tick::run("expire", EXPIRE_INTERVAL, Arc::default(), stop.clone(), || async {
        let (late, gone) = queue.expire().await?;
        if late + gone > 0 {
            tracing::warn!(
                late,
                gone,
                "made dead letters of messages that waited too long, and deleted expired ones"
            );
        }
        Ok::<_, sqlx::Error>(Progress::Idle)
    });
    let intake = tick::run("intake", POLL_INTERVAL, nudge, stop, || once(&queue, &clock, handler));
    tokio::join!(expire, intake);
}
