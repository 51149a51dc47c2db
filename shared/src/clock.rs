//! Time is an input: rules and stores never look at the wall clock by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where the time comes from. Cheap to clone; clones of a [`Clock::Fixed`] move together.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock, in UTC.
    #[default]
    System,
    /// Microseconds since the Unix epoch; moves only by [`Clock::advance`].
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at` until it is advanced.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.timestamp_micros())))
    }

    /// The time, cut to whole microseconds: that is what PostgreSQL keeps, and a time must be the
    /// same before and after it was stored.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
            Self::System => Utc::now().timestamp_micros(),
            Self::Fixed(micros) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Moves a fixed clock; the system clock moves by itself and ignores this.
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
    fn a_fixed_clock_moves_only_when_told_and_its_clones_move_along() {
        let clock = Clock::fixed(DateTime::from_timestamp_micros(1_000_000).unwrap());
        let other = clock.clone();
        assert_eq!(clock.now(), other.now());
        clock.advance(Duration::from_millis(1));
        assert_eq!(other.now().timestamp_micros(), 1_001_000);
    }

    #[test]
    fn the_time_has_no_more_digits_than_the_database_keeps() {
        assert_eq!(Clock::System.now().timestamp_subsec_nanos() % 1_000, 0);
    }
}
