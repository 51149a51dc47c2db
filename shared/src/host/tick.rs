//! Runs background work that takes no input: it looks at what is pending and moves it on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Whether there is likely more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything that was pending has been moved on.
    Idle,
    /// There was as much as one round takes.
    More,
}

/// Runs `work` when nudged, at least every `every`, and again at once while it says
/// [`Progress::More`]. A failure is logged and waited out: a second, then up to half a minute.
pub async fn run<E, F>(
    name: &'static str,
    every: Duration,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    mut work: impl FnMut() -> F + Send,
) where
    E: std::error::Error,
    F: Future<Output = Result<Progress, E>> + Send,
{
    let mut failures = 0_u32;
    loop {
        let pause = match work().await {
            Ok(progress) => {
                failures = 0;
                match progress {
                    Progress::More if stop.is_cancelled() => return,
                    Progress::More => continue,
                    Progress::Idle => every,
                }
            }
            Err(error) => {
                failures += 1;
                crate::telemetry::failed(name, &error);
                Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // After a failure a nudge must not turn into a busy loop.
            () = nudge.notified(), if failures == 0 => {}
        }
    }
}
