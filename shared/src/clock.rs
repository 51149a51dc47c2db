//! Time is an input: rules and stores never read the wall clock themselves.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// The origin of [`Clock::monotonic`] for the system clock.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A source of time. Cheap to clone; clones of a [`Clock::Fixed`] advance together.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system clock, in UTC.
    #[default]
    System,
    /// Microseconds since the Unix epoch, changed only by [`Clock::advance`].
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at` until it is advanced.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.timestamp_micros())))
    }

    /// The current time in whole microseconds, the precision of PostgreSQL, so that a stored time
    /// equals the original.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
            Self::System => Utc::now().timestamp_micros(),
            Self::Fixed(micros) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// The time since an origin that stays the same while the process runs, for intervals: if the
    /// system clock is set back, this does not go back with it.
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::System => ORIGIN.elapsed(),
            Self::Fixed(micros) => {
                Duration::from_micros(micros.load(Ordering::SeqCst).try_into().unwrap_or_default())
            }
        }
    }

    /// Advances a fixed clock. Has no effect on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Self::Fixed(micros) = self {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_clock_and_its_clones_advance_together() {
        let clock = Clock::fixed(DateTime::from_timestamp_micros(1_000_000).unwrap());
        let other = clock.clone();
        assert_eq!(clock.now(), other.now());
        clock.advance(Duration::from_millis(1));
        assert_eq!(other.now().timestamp_micros(), 1_001_000);
    }

    #[test]
    fn monotonic_time_advances_with_a_fixed_clock() {
        let clock = Clock::fixed(DateTime::from_timestamp_micros(1_000_000).unwrap());
        let before = clock.monotonic();
        clock.advance(Duration::from_millis(1));
        assert_eq!(clock.monotonic(), before + Duration::from_millis(1));
    }

    #[test]
    fn time_has_the_precision_of_the_database() {
        // Real time: whatever it is, it has this precision.
        assert_eq!(Clock::System.now().timestamp_subsec_nanos() % 1_000, 0);
    }
}
