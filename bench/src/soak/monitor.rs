//! Polls the backlog every few seconds, and requests a reconciliation every few minutes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use inventory::Backlog;
use serde_json::json;
use shared::clock::Clock;
use sync::{Findings, Queues, Run, State};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vitrina::client::{Client, ClientError};

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two reconciliations.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(2);

/// Time limit for changes in flight at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// Watches the edition through the operators' API.
#[derive(Debug)]
pub(crate) struct Monitor {
    operator: Client,
    observed: Mutex<Observed>,
}

/// Observations since the last call of [`Monitor::take`]. Backlogs are maxima.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) pending: i64,
    /// Age of the oldest pending event, in seconds.
    pub(crate) age: f64,
    pub(crate) queued: i64,
    pub(crate) dead: i64,
    /// The sum over all finished reconciliations.
    pub(crate) differences: i64,
    pub(crate) reconciliations: u64,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

impl Monitor {
    pub(crate) fn new(operator: Client) -> Self {
        Self { operator, observed: Mutex::default() }
    }

    /// Polls and reconciles until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let poll = async {
            loop {
                sleep(POLL_INTERVAL).await;
                let result = self.poll().await.map(|_| ());
                self.note(result);
            }
        };
        let reconcile = async {
            loop {
                sleep(RECONCILE_INTERVAL).await;
                let result = self.reconcile(false).await.map(|run| {
                    let mut observed = self.lock();
                    observed.reconciliations += 1;
                    observed.differences += run.findings.differences();
                });
                self.note(result);
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = poll => {}
            () = reconcile => {}
        }
    }

    pub(crate) fn take(&self) -> Observed {
        let mut observed = self.lock();
        let dead = observed.dead;
        // Dead letters stay until an operator handles them.
        std::mem::replace(&mut *observed, Observed { dead, ..Observed::default() })
    }

    /// Waits until no change is in flight, and reconciles everything with deep comparison.
    pub(crate) async fn finish(&self) -> anyhow::Result<(Observed, Findings)> {
        let begun = Instant::now();
        while self.poll().await? > 0 {
            ensure!(begun.elapsed() < DRAIN_TIMEOUT, "the backlog does not drain");
            sleep(Duration::from_millis(200)).await;
        }
        let run = self.reconcile(true).await.context("reconciling everything")?;
        Ok((self.take(), run.findings))
    }

    /// Returns the number of pending events and queued messages.
    async fn poll(&self) -> Result<i64, ClientError> {
        let outbox: Backlog = self.operator.get("/v1/admin/outbox").await?;
        let queues: Queues = self.operator.get("/v1/admin/queues").await?;
        let now = Clock::System.now();
        let age = outbox.oldest_committed_at.map_or(0.0, |at| (now - at).as_seconds_f64());
        let queued = queues.data.iter().map(|queue| queue.visible + queue.in_flight).sum();
        let mut observed = self.lock();
        observed.pending = observed.pending.max(outbox.pending);
        observed.age = observed.age.max(age);
        observed.queued = observed.queued.max(queued);
        observed.dead = queues.data.iter().map(|queue| queue.dead_letters).sum();
        Ok(outbox.pending + queued)
    }

    async fn reconcile(&self, deep: bool) -> Result<Run, ClientError> {
        let path = "/v1/admin/reconciliations";
        // Retrying is safe: a further reconciliation does no harm.
        let call = self.operator.call(axum::http::Method::POST, path).repeatable();
        let mut run: Run = call.json(&json!({"deep": deep})).send().await?;
        while run.state != State::Finished {
            sleep(Duration::from_millis(200)).await;
            run = self.operator.get(&format!("{path}/{}", run.id)).await?;
        }
        Ok(run)
    }

    fn note(&self, result: Result<(), ClientError>) {
        if let Err(error) = result {
            let mut observed = self.lock();
            observed.errors += 1;
            observed.error = Some(shared::telemetry::causes(&error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
