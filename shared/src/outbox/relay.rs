//! The relay: moves committed events from an outbox to the bus.
//!
//! It takes no input: it looks at what is pending. Several relays may run at once, since each
//! claims rows that the others skip. A pointer is deleted only after the bus accepted its event. A
//! crash in between publishes the event twice, which consumers expect; the event is never lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Backlog, Claimed, Outbox};
use crate::bus::{Bus, BusError, Outbound, Publish};
use crate::clock::Clock;
use crate::contract::envelope::{Envelope, Event, SPEC_VERSION, WrittenEvent};
use crate::failpoint;
use crate::host::tick::{self, Progress};
use crate::id::EventId;
use crate::telemetry;

/// Events in one round.
const BATCH: i64 = 100;

/// How often to look at the outbox without a nudge.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Backoff of an event that the bus refused. Others go first.
const REFUSED_BACKOFF: TimeDelta = TimeDelta::seconds(1);

/// Backoff of an event that this build cannot read. A newer build will publish it.
pub(super) const UNREADABLE_BACKOFF: TimeDelta = TimeDelta::minutes(1);

/// How often to measure what is pending.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// The timeouts of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayTimeouts {
    /// Of the bus. Row locks are held while it publishes.
    pub publish: Duration,
    /// How long a drain waits for events claimed by other relays or refused by the bus. It then fails,
    /// so that the function is invoked again.
    pub drain: Duration,
    /// How long a response waits for its event to be published.
    pub response: Duration,
}

impl Default for RelayTimeouts {
    fn default() -> Self {
        Self {
            publish: Duration::from_secs(2),
            drain: Duration::from_secs(5),
            response: Duration::from_millis(150),
        }
    }
}

/// Publishes the pending events of an outbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay<O, B = Bus> {
    outbox: O,
    pool: PgPool,
    bus: B,
    clock: Clock,
    pub(super) timeouts: RelayTimeouts,
}

/// Why a round failed. All of its events are still pending.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("claiming events from the outbox")]
    Claim(#[source] sqlx::Error),
    #[error("publishing {count} events")]
    Publish { count: usize, source: BusError },
    #[error("publishing {count} events: the bus did not respond in time")]
    Timeout { count: usize },
    #[error("settling pointers of the outbox")]
    Settle(#[source] sqlx::Error),
    #[error("the pointer at {position} points at nothing")]
    NoEntry { position: i64 },
    #[error("reading the stored event {event_id}")]
    Unreadable { event_id: EventId, source: serde_json::Error },
    #[error("measuring the outbox")]
    Measure(#[source] sqlx::Error),
    #[error("{pending} events and {requested} requests for events are still pending")]
    Pending { pending: i64, requested: i64 },
}

impl<O: Outbox, B: Publish> Relay<O, B> {
    pub fn new(outbox: O, pool: PgPool, bus: B, clock: Clock) -> Self {
        Self { outbox, pool, bus, clock, timeouts: RelayTimeouts::default() }
    }

    #[must_use]
    pub fn with_timeouts(self, timeouts: RelayTimeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Publishes one batch.
    pub async fn once(&self) -> Result<Progress, RelayError> {
        self.round(BATCH).await
    }

    /// Publishes up to `limit` events.
    pub(super) async fn round(&self, limit: i64) -> Result<Progress, RelayError> {
        let now = self.clock.now();
        let mut transaction = self.pool.begin().await.map_err(RelayError::Claim)?;
        let claimed =
            self.outbox.claim(&mut transaction, now, limit).await.map_err(RelayError::Claim)?;
        if claimed.is_empty() {
            return Ok(Progress::Idle);
        }
        failpoint::reach("relay.claimed").await;
        let (mut rows, mut events, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for row in &claimed {
            match self.outbound(row) {
                Ok(event) => {
                    rows.push(row);
                    events.push(event);
                }
                // A newer build wrote it and will publish it.
                Err(error) => {
                    telemetry::failed("reading a stored event", &error);
                    unreadable.push(row.position);
                }
            }
        }
        let (published, refused) = self.publish(&rows, &events).await?;
        failpoint::reach("relay.published").await;
        self.outbox.delete(&mut transaction, &published).await.map_err(RelayError::Settle)?;
        for (positions, backoff) in [(&refused, REFUSED_BACKOFF), (&unreadable, UNREADABLE_BACKOFF)]
        {
            if !positions.is_empty() {
                self.outbox
                    .put_off(&mut transaction, positions, now + backoff)
                    .await
                    .map_err(RelayError::Settle)?;
            }
        }
        failpoint::reach("relay.deleted").await;
        transaction.commit().await.map_err(RelayError::Settle)?;
        failpoint::reach("relay.settled").await;
        metrics::counter!("vitrina_events_published_total")
            .increment(u64::try_from(published.len()).unwrap_or(0));
        metrics::counter!("vitrina_events_refused_total")
            .increment(u64::try_from(refused.len()).unwrap_or(0));
        let full = i64::try_from(claimed.len()).is_ok_and(|claimed| claimed == limit);
        Ok(if full { Progress::More } else { Progress::Idle })
    }

    /// The positions of the events that the bus accepted, and of the events that it refused.
    async fn publish(
        &self,
        rows: &[&Claimed],
        events: &[Outbound],
    ) -> Result<(Vec<i64>, Vec<i64>), RelayError> {
        let count = events.len();
        if count == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let results = tokio::time::timeout(self.timeouts.publish, self.bus.publish(events))
            .await
            .map_err(|_| RelayError::Timeout { count })?
            .map_err(|source| RelayError::Publish { count, source })?;
        let (mut published, mut refused) = (Vec::with_capacity(count), Vec::new());
        for (row, result) in rows.iter().zip(results) {
            match result {
                Ok(()) => published.push(row.position),
                Err(error) => {
                    tracing::warn!(event.subject = %row.subject, %error, "an event stays pending");
                    refused.push(row.position);
                }
            }
        }
        Ok((published, refused))
    }

    fn outbound(&self, row: &Claimed) -> Result<Outbound, RelayError> {
        let position = row.position;
        let entry = row.entry.as_ref().ok_or(RelayError::NoEntry { position })?;
        let event_id = entry.event_id;
        let unreadable = |source| RelayError::Unreadable { event_id, source };
        let event = WrittenEvent::read::<O::Event>(&entry.event).map_err(unreadable)?;
        let event_type = event.type_name;
        let envelope = Envelope {
            specversion: SPEC_VERSION.to_owned(),
            id: event_id,
            source: O::Event::SOURCE.to_owned(),
            subject: row.subject,
            time: entry.committed_at,
            schemaversion: O::Event::SCHEMA_VERSION,
            traceparent: Some(entry.traceparent.clone()),
            requestid: entry.request_id,
            requestedtime: entry.requested_at,
            publishedtime: self.clock.now(),
            position,
            republished: row.pointed_at > entry.committed_at,
            event,
        };
        let body = serde_json::to_string(&envelope).map_err(unreadable)?;
        let source = O::Event::SOURCE;
        Ok(Outbound { event_id, source, event_type, subject: row.subject, body })
    }

    /// Measures the backlog.
    pub async fn measure(&self) -> Result<Backlog, RelayError> {
        let backlog = self.outbox.backlog(&self.pool).await.map_err(RelayError::Measure)?;
        let oldest = backlog
            .oldest_committed_at
            .map_or(TimeDelta::zero(), |at| (self.clock.now() - at).max(TimeDelta::zero()));
        metrics::gauge!("vitrina_outbox_oldest_pending_seconds").set(oldest.as_seconds_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
        metrics::gauge!("vitrina_outbox_pending").set(backlog.pending as f64);
        Ok(backlog)
    }

    /// Publishes until nothing is pending, at most until `deadline`.
    ///
    /// # Errors
    /// Also if events are still pending some time after all others were published.
    pub async fn drain(&self, deadline: Instant) -> Result<(), RelayError> {
        let give_up = deadline.min(Instant::now() + self.timeouts.drain);
        loop {
            while self.once().await? == Progress::More && Instant::now() < deadline {}
            let Backlog { pending, requested, .. } = self.measure().await?;
            if pending == 0 && requested == 0 {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(RelayError::Pending { pending, requested });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Publishes until `stop`, when nudged and five times a second.
    pub async fn run(&self, nudge: Arc<Notify>, stop: CancellationToken) {
        let never = Arc::default();
        let measure = tick::run("measure", MEASURE_INTERVAL, never, stop.clone(), || async {
            self.measure().await.map(|_| Progress::Idle)
        });
        let relay = tick::run("relay", POLL_INTERVAL, nudge, stop, || self.once());
        tokio::join!(measure, relay);
    }
}
