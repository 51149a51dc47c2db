//! Waits for conditions. Their limit ends a hang; it does not measure speed.

use std::time::{Duration, Instant};

use shared::outbox::RelayTimeouts;

/// Longest wait of a test for anything. A step that takes milliseconds may take seconds on a busy
/// machine, and the schedule of a stage fires once a minute.
pub const MAX_WAIT: Duration = Duration::from_mins(5);

/// A timeout that no test reaches: [`within`] and [`eventually`] give up sooner.
pub const NO_TIMEOUT: Duration = MAX_WAIT.saturating_mul(2);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// For tests of a relay that are not about its timeouts.
pub const PATIENT_RELAY: RelayTimeouts =
    RelayTimeouts { publish: NO_TIMEOUT, drain: NO_TIMEOUT, response: NO_TIMEOUT };

/// Waits until `check` returns a value.
///
/// # Panics
/// If it returns none within [`MAX_WAIT`].
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    // Real time: the limit ends a hang.
    let begun = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(begun.elapsed() < MAX_WAIT, "timed out waiting for {what}");
        // Real time: only a pause.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The output of `future`.
///
/// # Panics
/// If it does not end within [`MAX_WAIT`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    // Real time: the limit ends a hang.
    let ended = tokio::time::timeout(MAX_WAIT, future).await;
    ended.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}
