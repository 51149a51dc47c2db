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

/// How long a round may take unless its work says otherwise: several times what its slowest statement
/// may.
const LIMIT: Duration = Duration::from_mins(1);

/// How often work is done, and how long a round of it may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest time between two looks.
    pub every: Duration,
    /// A round that takes longer is given up and begun anew: a connection that has gone silent, and
    /// says nothing even of its end, must not hold up what is pending. None where a round goes on for
    /// as long as there is something to do.
    pub limit: Option<Duration>,
}

impl From<Duration> for Pace {
    fn from(every: Duration) -> Self {
        Self { every, limit: Some(LIMIT) }
    }
}

/// A round took too long, and was given up.
#[derive(Debug, thiserror::Error)]
#[error("the round did not end in {0:?}")]
struct Late(Duration);

/// Runs `work` when nudged, at least every so often, and again at once while it says
/// [`Progress::More`]. A failure is logged and waited out: a second, then up to half a minute.
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
                after(failures)
            }
            Err(_) => {
                failures += 1;
                crate::telemetry::failed(name, &Late(limit.unwrap_or_default()));
                after(failures)
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

/// How long to wait after so many failures in a row.
fn after(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_round_that_never_ends_is_given_up_and_begun_anew() {
        let (rounds, stop) = (AtomicU32::new(0), CancellationToken::new());
        let pace = Pace { every: Duration::ZERO, limit: Some(Duration::from_millis(20)) };
        run("silent", pace, Arc::default(), stop.clone(), || async {
            if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
                // As a read from a connection that nobody will ever write to again.
                std::future::pending::<()>().await;
            }
            stop.cancel();
            Ok::<_, Infallible>(Progress::Idle)
        })
        .await;
        assert_eq!(rounds.into_inner(), 2);
    }
}
