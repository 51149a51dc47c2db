//! Deletes expired codes, refresh tokens, sessions, attempt counters, and claims that were never
//! activated.
//!
//! Takes no input: it looks for expired rows. Several processes may run it at once.

use std::sync::Arc;
use std::time::Duration;

use shared::host::tick::{self, Progress};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::store::error::StoreError;
use crate::store::expire_sessions;

/// How often expired rows are deleted.
const EVERY: Duration = Duration::from_mins(10);

/// Deletes one batch of each kind.
pub async fn once(app: &App) -> Result<Progress, StoreError> {
    let now = app.clock.now();
    let deleted = [
        expire_sessions::attempts(&app.pool, now).await?,
        expire_sessions::codes(&app.pool, now).await?,
        expire_sessions::refresh_tokens(&app.pool, now).await?,
        expire_sessions::sessions(&app.pool, now).await?,
        expire_sessions::claims(&app.pool, now).await?,
    ];
    Ok(if deleted.iter().any(|rows| *rows >= expire_sessions::BATCH) {
        Progress::More
    } else {
        Progress::Idle
    })
}

/// Runs until `stop`. The label of its failures in the metrics is `tidy`.
pub async fn run(app: App, stop: CancellationToken) {
    tick::run("tidy", EVERY, Arc::default(), stop, || once(&app)).await;
}
