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
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use tokio::time::Instant;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no response")]
    struct NoResponse;

    /// Runs until `rounds` rounds have begun, and returns the pause before each.
    async fn pauses(
        pace: impl Into<Pace>,
        rounds: usize,
        nudge: &Arc<Notify>,
        mut work: impl FnMut(usize) -> BoxFuture<'static, Result<Progress, NoResponse>> + Send,
    ) -> Vec<Duration> {
        let (begun, stop) = (Mutex::new(Vec::new()), CancellationToken::new());
        run("tested", pace, Arc::clone(nudge), stop.clone(), || {
            let mut begun = begun.lock().unwrap();
            // Paused time: the tests pause it.
            begun.push(Instant::now());
            if begun.len() > rounds {
                stop.cancel();
                return std::future::ready(Ok(Progress::Idle)).boxed();
            }
            work(begun.len())
        })
        .await;
        let begun = begun.into_inner().unwrap();
        // A nudge may cause one more round before the stop is noticed.
        begun.windows(2).take(rounds).map(|pair| pair[1] - pair[0]).collect()
    }

    fn seconds(seconds: &[u64]) -> Vec<Duration> {
        seconds.iter().copied().map(Duration::from_secs).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn failing_round_is_repeated_after_two_to_thirty_seconds() {
        let fails = |round| {
            std::future::ready(if round == 8 { Ok(Progress::Idle) } else { Err(NoResponse) })
        };
        let every = Duration::from_millis(200);
        let paused = pauses(every, 10, &Arc::default(), move |round| fails(round).boxed()).await;
        let mut expected = seconds(&[2, 4, 8, 16, 30, 30, 30, 0, 2, 4]);
        // A round that succeeds ends the backoff.
        expected[7] = every;
        assert_eq!(paused, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nudge_does_not_shorten_a_backoff() {
        let nudge = Arc::new(Notify::new());
        let nudged = Arc::clone(&nudge);
        let paused = pauses(Duration::from_millis(200), 5, &nudge, move |_| {
            nudged.notify_one();
            std::future::ready(Err(NoResponse)).boxed()
        });
        assert_eq!(paused.await, seconds(&[2, 4, 8, 16, 30]));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_work_is_repeated_after_its_interval_or_a_nudge() {
        let nudge = Arc::new(Notify::new());
        let nudged = Arc::clone(&nudge);
        let paused = pauses(Duration::from_secs(7), 4, &nudge, move |round| {
            if round == 3 {
                nudged.notify_one();
            }
            let progress = if round == 2 { Progress::More } else { Progress::Idle };
            std::future::ready(Ok(progress)).boxed()
        });
        assert_eq!(paused.await, seconds(&[7, 0, 0, 7]));
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_round_is_cancelled_after_a_minute_and_repeated() {
        let nudge = Arc::default();
        let paused = pauses(Duration::from_secs(7), 3, &nudge, |round| {
            // Like a read from a connection that has gone silent.
            let silence = if round < 3 { Duration::MAX } else { Duration::from_millis(59_999) };
            tokio::time::sleep(silence).map(|()| Ok(Progress::More)).boxed()
        });
        let mut expected = seconds(&[60 + 2, 60 + 4, 0]);
        // A round that ends just in time is not cancelled.
        expected[2] = Duration::from_millis(59_999);
        assert_eq!(paused.await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_a_pause_at_once() {
        let (begun, stop) = (Instant::now(), CancellationToken::new());
        let stopping = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.cancel();
        };
        let work = || std::future::ready(Ok::<_, Infallible>(Progress::Idle));
        let running = run("idle", Duration::from_hours(1), Arc::default(), stop.clone(), work);
        tokio::join!(running, stopping);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_work_with_a_backlog_after_its_round() {
        for pace in [Duration::ZERO, Duration::from_hours(1)] {
            let (rounds, stop) = (Mutex::new(0), CancellationToken::new());
            let work = || {
                let mut rounds = rounds.lock().unwrap();
                *rounds += 1;
                assert!(*rounds < 10, "the stop is ignored");
                if *rounds == 3 {
                    stop.cancel();
                }
                std::future::ready(Ok::<_, Infallible>(Progress::More))
            };
            run("endless", pace, Arc::default(), stop.clone(), work).await;
            assert_eq!(rounds.into_inner().unwrap(), 3);
        }
    }
}
