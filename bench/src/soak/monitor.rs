//! A look at what waits, every few seconds, and a comparison of everything, every few minutes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use shared::clock::Clock;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vitrina::client::{Client, ClientError};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(5);

/// How often everything is compared.
const COMPARE: Duration = Duration::from_mins(2);

/// How long what is under way at the end may take to arrive.
const REST: Duration = Duration::from_mins(5);

/// Looks, as an operator does.
#[derive(Debug)]
pub(crate) struct Monitor {
    operator: Client,
    seen: Mutex<Observed>,
}

/// What was seen since it was last taken; of what waits, the most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) pending: i64,
    /// Of the oldest event that waits to be published, in seconds.
    pub(crate) age: f64,
    pub(crate) queued: i64,
    pub(crate) dead: i64,
    /// Of all reconciliations that ended since.
    pub(crate) differences: i64,
    pub(crate) reconciliations: u64,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct Outbox {
    pending: i64,
    oldest_committed_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Queues {
    data: Vec<Queue>,
}

#[derive(Deserialize)]
struct Queue {
    visible: i64,
    in_flight: i64,
    dead_letters: i64,
}

/// What a reconciliation found.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reconciliation {
    id: Uuid,
    state: String,
    #[serde(rename = "compared")]
    pub(crate) products: u64,
    missing: i64,
    stale: i64,
    ahead: i64,
    extra: i64,
    altered: i64,
    stock: i64,
    pub(crate) moving: i64,
}

impl Reconciliation {
    pub(crate) fn differences(&self) -> i64 {
        self.missing + self.stale + self.ahead + self.extra + self.altered + self.stock
    }
}

impl Monitor {
    pub(crate) fn new(operator: Client) -> Self {
        Self { operator, seen: Mutex::default() }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let look = async {
            loop {
                sleep(LOOK).await;
                let result = self.look().await.map(|_| ());
                self.note(result);
            }
        };
        let compare = async {
            loop {
                sleep(COMPARE).await;
                let result = self.compare(false).await.map(|compared| {
                    let mut seen = self.lock();
                    seen.reconciliations += 1;
                    seen.differences += compared.differences();
                });
                self.note(result);
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = look => {}
            () = compare => {}
        }
    }

    pub(crate) fn take(&self) -> Observed {
        let mut seen = self.lock();
        let dead = seen.dead;
        // Dead letters do not go by themselves.
        std::mem::replace(&mut *seen, Observed { dead, ..Observed::default() })
    }

    /// Waits until nothing is under way any more, and compares everything to the last byte.
    pub(crate) async fn end(&self) -> anyhow::Result<(Observed, Reconciliation)> {
        let begun = Instant::now();
        while self.look().await? > 0 {
            ensure!(begun.elapsed() < REST, "it does not come to rest");
            sleep(Duration::from_millis(200)).await;
        }
        let compared = self.compare(true).await.context("comparing everything")?;
        Ok((self.take(), compared))
    }

    /// Returns how much waits.
    async fn look(&self) -> Result<i64, ClientError> {
        let outbox: Outbox = self.operator.get("/v1/admin/outbox").await?;
        let queues: Queues = self.operator.get("/v1/admin/queues").await?;
        let now = Clock::System.now();
        let age = outbox.oldest_committed_at.map_or(0.0, |at| (now - at).as_seconds_f64());
        let queued = queues.data.iter().map(|queue| queue.visible + queue.in_flight).sum();
        let mut seen = self.lock();
        seen.pending = seen.pending.max(outbox.pending);
        seen.age = seen.age.max(age);
        seen.queued = seen.queued.max(queued);
        seen.dead = queues.data.iter().map(|queue| queue.dead_letters).sum();
        Ok(outbox.pending + queued)
    }

    async fn compare(&self, deep: bool) -> Result<Reconciliation, ClientError> {
        let path = "/v1/admin/reconciliations";
        // One too many does no harm.
        let call = self.operator.call(axum::http::Method::POST, path).repeatable();
        let mut run: Reconciliation = call.json(&json!({"deep": deep})).send().await?;
        while run.state != "finished" {
            sleep(Duration::from_millis(200)).await;
            run = self.operator.get(&format!("{path}/{}", run.id)).await?;
        }
        Ok(run)
    }

    fn note(&self, result: Result<(), ClientError>) {
        if let Err(error) = result {
            let mut seen = self.lock();
            seen.errors += 1;
            seen.error = Some(shared::telemetry::causes(&error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
