//! The relay: moves committed events from the outbox to the bus.
//!
//! It takes no input: it looks at what is pending. Several may run at once, since each claims rows
//! that the others skip. A pointer is deleted only after the bus said that it took the event, so a
//! crash in between publishes it twice, which the fences make harmless; it is never lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use chrono::TimeDelta;
use shared::bus::{Bus, BusError, Outbound};
use shared::clock::Clock;
use shared::contract::envelope::{Envelope, WrittenEvent};
use shared::contract::inventory::{Event, SCHEMA_VERSION, SOURCE};
use shared::database;
use shared::failpoint;
use shared::host::Work;
use shared::host::tick::{self, Progress};
use shared::id::Ids;
use shared::telemetry;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::repair;
use crate::store::idempotency;
use crate::store::outbox::{self, Backlog, Claimed};
use crate::store::products::WriteError;

/// How many events are published at once.
const BATCH: i64 = 100;

/// How often the outbox is looked at when nobody nudges.
const EVERY: Duration = Duration::from_millis(200);

/// How often old idempotency keys are looked for.
const FORGET_EVERY: Duration = Duration::from_mins(10);

/// How often requests for repairs are looked for: there are hardly ever any.
const REPAIR_EVERY: Duration = Duration::from_secs(1);

/// Row locks are held while the bus is asked: it must answer by then.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an event that the bus refused lets others go first.
const AFTER_REFUSAL: TimeDelta = TimeDelta::seconds(1);

/// How long an event that this build cannot read lets others go first.
const UNTIL_A_NEWER_BUILD: TimeDelta = TimeDelta::minutes(1);

/// How often it is measured what is pending.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// How long an invocation waits for what others have claimed, or the bus has refused, before it
/// says that it is left: somebody has to come back for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many events are published before an answer, and how long that may take. What it does not get
/// done is the relay's.
const BEFORE_AN_ANSWER: i64 = 10;
const BEFORE_AN_ANSWER_TAKES: Duration = Duration::from_millis(150);

/// Publishes what is pending. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay {
    pub pool: PgPool,
    pub bus: Bus,
    pub clock: Clock,
    pub ids: Ids,
}

/// Why a round failed. Everything that was pending still is.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("claiming events from the outbox")]
    Claim(#[source] sqlx::Error),
    #[error("publishing {count} events")]
    Publish { count: usize, source: BusError },
    #[error("publishing {count} events: the bus did not answer in time")]
    Timeout { count: usize },
    #[error("settling pointers of the outbox")]
    Settle(#[source] sqlx::Error),
    #[error("the pointer at {position} points at nothing in the journal")]
    NoEntry { position: i64 },
    #[error("reading the journal entry of {event_id}")]
    Journal { event_id: uuid::Uuid, source: serde_json::Error },
    #[error("asking what is pending")]
    Measure(#[source] sqlx::Error),
    #[error("{pending} events and {repairs} repairs are still pending")]
    Pending { pending: i64, repairs: i64 },
    #[error(transparent)]
    Repair(#[from] RepairError),
}

/// A request for a repair was not done. It still is to be done.
#[derive(Debug, thiserror::Error)]
#[error("announcing a product under a new version")]
pub struct RepairError(#[from] WriteError);

impl Relay {
    pub fn new(pool: PgPool, bus: Bus, clock: Clock, ids: Ids) -> Self {
        Self { pool, bus, clock, ids }
    }

    /// Publishes one batch.
    pub async fn once(&self) -> Result<Progress, RelayError> {
        self.round(BATCH).await
    }

    /// Publishes up to `limit` events.
    async fn round(&self, limit: i64) -> Result<Progress, RelayError> {
        let now = self.clock.now();
        let mut transaction = database::begin(&self.pool).await.map_err(RelayError::Claim)?;
        let claimed =
            outbox::claim(&mut transaction, now, limit).await.map_err(RelayError::Claim)?;
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
                // A newer build wrote it, and it will be there to publish it.
                Err(error) => {
                    telemetry::failed("reading the journal", &error);
                    unreadable.push(row.position);
                }
            }
        }
        let (published, refused) = self.publish(&rows, &events).await?;
        failpoint::reach("relay.published").await;
        outbox::delete(&mut transaction, &published).await.map_err(RelayError::Settle)?;
        for (positions, pause) in [(&refused, AFTER_REFUSAL), (&unreadable, UNTIL_A_NEWER_BUILD)] {
            if !positions.is_empty() {
                outbox::put_off(&mut transaction, positions, now + pause)
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

    /// The positions of the events that the bus took, and of those that it refused.
    async fn publish(
        &self,
        rows: &[&Claimed],
        events: &[Outbound],
    ) -> Result<(Vec<i64>, Vec<i64>), RelayError> {
        let count = events.len();
        if count == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let results = tokio::time::timeout(PUBLISH_TIMEOUT, self.bus.publish(events))
            .await
            .map_err(|_| RelayError::Timeout { count })?
            .map_err(|source| RelayError::Publish { count, source })?;
        let (mut published, mut refused) = (Vec::with_capacity(count), Vec::new());
        for (row, result) in rows.iter().zip(results) {
            match result {
                Ok(()) => published.push(row.position),
                Err(error) => {
                    tracing::warn!(product.id = %row.subject, %error, "an event stays pending");
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
        let journal = |source| RelayError::Journal { event_id, source };
        // What this build cannot read is not its to announce.
        let event_type = serde_json::from_str::<Event>(&entry.event).map_err(journal)?.type_name();
        let event: WrittenEvent = serde_json::from_str(&entry.event).map_err(journal)?;
        let envelope = Envelope {
            specversion: "1.0".to_owned(),
            id: event_id,
            source: SOURCE.to_owned(),
            subject: row.subject,
            time: entry.committed_at,
            schemaversion: SCHEMA_VERSION,
            traceparent: Some(entry.traceparent.clone()),
            requestid: entry.request_id,
            requestedtime: entry.requested_at,
            publishedtime: self.clock.now(),
            position,
            republished: row.pointed_at > entry.committed_at,
            event,
        };
        let body = serde_json::to_string(&envelope).map_err(journal)?;
        Ok(Outbound { event_id, event_type, subject: row.subject, body })
    }

    /// Measures what is pending.
    async fn measure(&self) -> Result<Backlog, RelayError> {
        let backlog = outbox::backlog(&self.pool).await.map_err(RelayError::Measure)?;
        let oldest = backlog
            .oldest_committed_at
            .map_or(TimeDelta::zero(), |at| (self.clock.now() - at).max(TimeDelta::zero()));
        metrics::gauge!("vitrina_outbox_oldest_pending_seconds").set(oldest.as_seconds_f64());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
        metrics::gauge!("vitrina_outbox_pending").set(backlog.pending as f64);
        Ok(backlog)
    }

    /// Relays before `deadline` until nothing is pending.
    async fn drain(&self, deadline: Instant) -> Result<(), RelayError> {
        while self.repair().await? == Progress::More && Instant::now() < deadline {}
        let patience = deadline.min(Instant::now() + PATIENCE);
        loop {
            while self.once().await? == Progress::More && Instant::now() < deadline {}
            let Backlog { pending, repairs, .. } = self.measure().await?;
            if pending == 0 && repairs == 0 {
                break;
            }
            if Instant::now() >= patience {
                return Err(RelayError::Pending { pending, repairs });
            }
            tokio::time::sleep(EVERY).await;
        }
        if let Err(error) = self.forget().await {
            telemetry::failed("forget", &error);
        }
        Ok(())
    }

    /// Does what reconciliation could not by itself: one request for a new version.
    pub async fn repair(&self) -> Result<Progress, RepairError> {
        Ok(repair::once(&self.pool, &self.clock, &self.ids).await?)
    }

    /// Forgets idempotency keys that are old enough.
    async fn forget(&self) -> Result<Progress, sqlx::Error> {
        let forgotten = idempotency::forget(&self.pool, self.clock.now()).await?;
        Ok(if forgotten < 1000 { Progress::Idle } else { Progress::More })
    }
}

impl Work for Relay {
    type Error = RelayError;

    fn name(&self) -> &'static str {
        "relay"
    }

    /// Relays until `stop`, when nudged and five times a second.
    async fn run(self, nudge: Arc<Notify>, stop: CancellationToken) {
        let forget =
            tick::run("forget", FORGET_EVERY, Arc::default(), stop.clone(), || self.forget());
        let repair = tick::run("repair", REPAIR_EVERY, Arc::default(), stop.clone(), || async {
            let progress = self.repair().await?;
            if progress == Progress::More {
                nudge.notify_one();
            }
            Ok::<_, RepairError>(progress)
        });
        let measure = tick::run("measure", MEASURE_EVERY, Arc::default(), stop.clone(), || async {
            self.measure().await.map(|_| Progress::Idle)
        });
        let relay = tick::run("relay", EVERY, Arc::clone(&nudge), stop, || self.once());
        tokio::join!(forget, repair, measure, relay);
    }

    /// Relays until nothing is pending.
    ///
    /// # Errors
    /// Also when something still is, a while after everything else was published.
    async fn until(&self, deadline: Instant) -> Result<(), RelayError> {
        let drained = self.drain(deadline).await;
        if drained.is_err() {
            // It says how long the oldest has been waiting, above all when nothing gets through.
            let _ = self.measure().await;
        }
        drained
    }
}

/// Has a write's event published before the write is answered, where there is no process in which
/// that could be done afterwards. It may fail: then the scheduled relay does it.
pub fn before_answers(api: Router, relay: Relay) -> Router {
    api.layer(from_fn_with_state(relay, publish_first))
}

async fn publish_first(State(relay): State<Relay>, request: Request, next: Next) -> Response {
    let is_write = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let response = next.run(request).await;
    if is_write && response.status().is_success() {
        let round = relay.round(BEFORE_AN_ANSWER);
        match tokio::time::timeout(BEFORE_AN_ANSWER_TAKES, round).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => telemetry::failed("relay before the answer", &error),
            Err(_) => tracing::debug!("an answer did not wait for its event to be published"),
        }
    }
    response
}
