//! Time as tests move it: that of a process, and that of the runtime, on which timeouts, backoffs and
//! polls rest. The latter only for tests with one thread, as `#[tokio::test]` has by default.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::clock::Clock;
use tokio::time::Instant;

use crate::eventually;

/// Sets a fixed clock back, as an operator or a time server does.
///
/// # Panics
/// If it is the clock of the system.
pub fn set_back(clock: &Clock, by: Duration) {
    let Clock::Fixed(micros) = clock else { panic!("the clock of the system cannot be set") };
    let by = i64::try_from(by.as_micros()).unwrap();
    micros.fetch_sub(by, Ordering::SeqCst);
}

/// Advances the time of the runtime by `by` at once: what ends within it ends now. Sockets and stores
/// take no part in this, so a limit on a call in flight ends as well.
pub async fn skip(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Advances the time of the runtime by `step` again and again until `check` holds, and returns how much of
/// it has passed. That is a lower bound: on a busy machine, more passes before a step takes effect.
///
/// # Panics
/// If the check does not hold within [`MAX_WAIT`](crate::MAX_WAIT).
pub async fn skip_until(
    what: &str,
    step: Duration,
    mut check: impl AsyncFnMut() -> bool,
) -> Duration {
    // Paused time: its steps are added up.
    let begun = Instant::now();
    eventually(what, async || {
        let holds = check().await;
        if !holds {
            skip(step).await;
        }
        holds.then_some(())
    })
    .await;
    begun.elapsed()
}

/// A call that never gets a response, and measures how long its caller waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Hang(Arc<Mutex<Vec<Duration>>>);

impl Hang {
    /// Waits until the caller gives up. The time of the runtime advances from timer to timer during
    /// the wait, so that no test takes as long as a timeout.
    pub async fn wait<T>(&self) -> T {
        tokio::time::pause();
        // Paused time: it advances from timer to timer.
        let _waiting = Waiting { begun: Instant::now(), ended: Arc::clone(&self.0) };
        std::future::pending().await
    }

    /// How long each caller waited that has given up, in steps of five milliseconds: timers of the
    /// runtime are up to a millisecond late.
    pub fn waits(&self) -> Vec<Duration> {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rounded = |waited: &Duration| waited.as_millis() / 5 * 5;
        let rounded = ended.iter().map(rounded).filter_map(|it| u64::try_from(it).ok());
        rounded.map(Duration::from_millis).collect()
    }
}

#[derive(Debug)]
struct Waiting {
    begun: Instant,
    ended: Arc<Mutex<Vec<Duration>>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.begun.elapsed();
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
        tokio::time::resume();
    }
}
