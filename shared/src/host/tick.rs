//! Runs background work that takes no input: each round looks for pending work and advances it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Whether another round should follow at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is pending.
    Idle,
    /// The round was full; more is likely pending.
    More,
}

/// Default timeout of a round: several times the timeout of its slowest statement.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// How often a round runs, and its timeout.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest pause between two rounds.
    pub every: Duration,
    /// A round that exceeds this is cancelled and restarted, so that a silent connection cannot hold
    /// up pending work. `None` if a round runs for as long as there is work.
    pub limit: Option<Duration>,
}

impl From<Duration> for Pace {
    fn from(every: Duration) -> Self {
        Self { every, limit: Some(DEFAULT_TIMEOUT) }
    }
}

/// A round exceeded its timeout and was cancelled.
#[derive(Debug, thiserror::Error)]
#[error("the round did not end within {0:?}")]
struct RoundTimeout(Duration);

/// Runs `work` when nudged, at least once per interval, and again at once while it returns
/// [`Progress::More`]. After a failure it logs the error and backs off, from 2 s up to 30 s.
pub async fn run<E, F>(
    name: &'static str,
    pace: impl Into<Pace>,
    nudge: Arc<Notify>,
    stop: CancellationToken,
    mut work: impl FnMut() -> F + Send,
) where
    E: std::error::Error,
    F: Future<Output = Result<Progress, E>> + Send,
{
    let Pace { every, limit } = pace.into();
    let mut failures = 0_u32;
    loop {
        let round = tokio::time::timeout(limit.unwrap_or(Duration::MAX), work());
        let pause = match round.await {
            Ok(Ok(progress)) => {
                failures = 0;
                match progress {
                    Progress::More if stop.is_cancelled() => return,
                    Progress::More => continue,
                    Progress::Idle => every,
                }
            }
            Ok(Err(error)) => {
                failures += 1;
                crate::telemetry::failed(name, &error);
                backoff(failures)
            }
            Err(_) => {
                failures += 1;
                crate::telemetry::failed(name, &RoundTimeout(limit.unwrap_or_default()));
                backoff(failures)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // A nudge during backoff must not cause a busy loop.
            () = nudge.notified(), if failures == 0 => {}
        }
    }
}

/// Backoff after `failures` failures in a row.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn hanging_round_is_cancelled_and_restarted() {
        let (rounds, stop) = (AtomicU32::new(0), CancellationToken::new());
        let pace = Pace { every: Duration::ZERO, limit: Some(Duration::from_millis(20)) };
        run("silent", pace, Arc::default(), stop.clone(), || async {
            if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
                // Like a read from a connection that has gone silent.
                std::future::pending::<()>().await;
            }
            stop.cancel();
            Ok::<_, Infallible>(Progress::Idle)
        })
        .await;
        assert_eq!(rounds.into_inner(), 2);
    }
}
