//! Forgets what has had its time: codes, tokens, counters, and addresses that nobody activated.
//!
//! It takes no input: it looks at what is there. Several may run at once.

use std::sync::Arc;
use std::time::Duration;

use shared::host::tick::{self, Progress};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::store::tidy;

/// How often it looks.
const EVERY: Duration = Duration::from_mins(10);

/// Forgets one batch of each kind.
pub async fn once(app: &App) -> Result<Progress, sqlx::Error> {
    let now = app.clock.now();
    let deleted = [
        tidy::attempts(&app.pool, now).await?,
        tidy::codes(&app.pool, now).await?,
        tidy::refresh_tokens(&app.pool, now).await?,
        tidy::sessions(&app.pool, now).await?,
        tidy::claims(&app.pool, now).await?,
    ];
    Ok(if deleted.iter().any(|rows| *rows >= tidy::BATCH) {
        Progress::More
    } else {
        Progress::Idle
    })
}

/// Tidies until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    tick::run("tidy", EVERY, Arc::default(), stop, || once(&app)).await;
}
