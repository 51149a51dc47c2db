//! The relay of inventory: publishes its outbox, and performs the repairs that reconciliation
//! requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::bus::{Bus, Publish};
use shared::clock::Clock;
use shared::host::Work;
use shared::host::tick::{self, Progress};
use shared::id::Ids;
use shared::outbox;
use shared::telemetry;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::repair;
use crate::store::idempotency;
use crate::store::outbox::ProductOutbox;
use crate::store::products::WriteError;

/// How often to look for expired idempotency keys.
const KEY_EXPIRY_INTERVAL: Duration = Duration::from_mins(10);

/// How often to look for requests for repairs. They are rare.
const REPAIR_INTERVAL: Duration = Duration::from_secs(1);

/// Publishes what is pending. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay<B = Bus> {
    events: outbox::Relay<ProductOutbox, B>,
    pool: PgPool,
    clock: Clock,
    ids: Ids,
}

/// Why a round failed. Everything that was pending still is.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Publish(#[from] outbox::RelayError),
    #[error(transparent)]
    Repair(#[from] RepairError),
}

/// A repair failed. Its request is still pending.
#[derive(Debug, thiserror::Error)]
#[error("announcing a product under a new version")]
pub struct RepairError(#[from] WriteError);

impl<B: Publish> Relay<B> {
    pub fn new(pool: PgPool, bus: B, clock: Clock, ids: Ids) -> Self {
        let events = outbox::Relay::new(ProductOutbox, pool.clone(), bus, clock.clone());
        Self { events, pool, clock, ids }
    }

    #[must_use]
    pub fn with_timeouts(self, timeouts: outbox::RelayTimeouts) -> Self {
        Self { events: self.events.with_timeouts(timeouts), ..self }
    }

    /// What publishes the events, for an API that does so before it responds.
    pub fn into_events(self) -> outbox::Relay<ProductOutbox, B> {
        self.events
    }

    /// Publishes one batch.
    pub async fn once(&self) -> Result<Progress, outbox::RelayError> {
        self.events.once().await
    }

    /// Announces one product under a new version, as reconciliation requested.
    pub async fn repair(&self) -> Result<Progress, RepairError> {
        Ok(repair::once(&self.pool, &self.clock, &self.ids).await?)
    }

    /// Deletes expired idempotency keys.
    async fn delete_expired_keys(&self) -> Result<Progress, sqlx::Error> {
        let deleted = idempotency::delete_expired(&self.pool, self.clock.now()).await?;
        Ok(if deleted < 1000 { Progress::Idle } else { Progress::More })
    }

    /// Repairs and publishes before `deadline` until nothing is pending, and then deletes expired keys.
    async fn drain(&self, deadline: Instant) -> Result<(), RelayError> {
        // A repair that fails must not hold up the events, which have nothing to do with it.
        let repaired = repeat(deadline, || self.repair()).await;
        let published = self.events.drain(deadline).await;
        if let Ok(()) | Err(outbox::RelayError::Pending { .. }) = published
            && let Err(error) = repeat(deadline, || self.delete_expired_keys()).await
        {
            telemetry::failed("forget", &error);
        }
        match (repaired, published) {
            // Its request is still pending, and this says why.
            (Err(repair), Ok(()) | Err(outbox::RelayError::Pending { .. })) => Err(repair.into()),
            (Err(repair), Err(publish)) => {
                telemetry::failed("repair", &repair);
                Err(publish.into())
            }
            (Ok(()), published) => Ok(published?),
        }
    }
}

/// Does `work` until nothing is left of it, at least once and at most until `deadline`.
async fn repeat<E, F>(deadline: Instant, mut work: impl FnMut() -> F) -> Result<(), E>
where
    F: Future<Output = Result<Progress, E>>,
{
    while work().await? == Progress::More && Instant::now() < deadline {}
    Ok(())
}

impl<B: Publish> Work for Relay<B> {
    type Error = RelayError;

    fn name(&self) -> &'static str {
        "relay"
    }

    async fn run(self, nudge: Arc<Notify>, stop: CancellationToken) {
        let never = Arc::default;
        let expiry = tick::run("forget", KEY_EXPIRY_INTERVAL, never(), stop.clone(), || {
            self.delete_expired_keys()
        });
        let repair = tick::run("repair", REPAIR_INTERVAL, never(), stop.clone(), || async {
            let progress = self.repair().await?;
            if progress == Progress::More {
                nudge.notify_one();
            }
            Ok::<_, RepairError>(progress)
        });
        let events = self.events.run(Arc::clone(&nudge), stop);
        tokio::join!(expiry, repair, events);
    }

    async fn until(&self, deadline: Instant) -> Result<(), RelayError> {
        let drained = self.drain(deadline).await;
        if drained.is_err() {
            // The gauges say how long the oldest event waits, above all when nothing gets through.
            let _ = self.events.measure().await;
        }
        drained
    }
}
