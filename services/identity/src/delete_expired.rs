//! Deletes expired codes, refresh tokens, sessions, attempt counters, and claims that were never
//! activated.
//!
//! Takes no input: it looks for expired rows. Several processes may run it at once.

use std::sync::Arc;
use std::time::Duration;

use shared::host::tick::{self, Progress};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::store::expired;
use shared::database::StoreError;

/// How often expired rows are deleted.
const EVERY: Duration = Duration::from_mins(10);

/// Deletes one batch of each kind.
pub async fn once(app: &App) -> Result<Progress, StoreError> {
    let now = app.clock.now();
    let deleted = [
        expired::delete_attempts(&app.pool, now).await?,
        expired::delete_codes(&app.pool, now).await?,
        expired::delete_refresh_tokens(&app.pool, now).await?,
        expired::delete_sessions(&app.pool, now).await?,
        expired::delete_claims(&app.pool, now).await?,
    ];
    Ok(if deleted.iter().any(|rows| *rows >= expired::BATCH) {
        Progress::More
    } else {
        Progress::Idle
    })
}

/// Runs until `stop`. The label of its failures in the metrics is `tidy`.
pub async fn run(app: App, stop: CancellationToken) {
    tick::run("tidy", EVERY, Arc::default(), stop, || once(&app)).await;
}
