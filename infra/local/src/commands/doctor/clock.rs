//! The clock of this machine, compared with those of the edition and the database. It asks no time
//! server.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Finding;

const WHAT: &str = "clock";

/// The `Date` header has whole seconds, and a response takes a moment.
const TOLERATED_DIFFERENCE: TimeDelta = TimeDelta::seconds(3);

/// Beyond this, tokens and one-minute leases expire at the wrong time.
const MAX_DIFFERENCE: TimeDelta = TimeDelta::seconds(30);

/// The times of two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The owner of the other clock.
    pub(super) of: &'static str,
    pub(super) here: DateTime<Utc>,
    pub(super) there: DateTime<Utc>,
}

pub(super) fn check(readings: &[Reading]) -> Finding {
    let Some(worst) = readings.iter().max_by_key(|one| (one.here - one.there).abs()) else {
        return Finding::ok(
            WHAT,
            "there is nothing to compare it with: no edition and no database",
        );
    };
    let others: Vec<&str> = readings.iter().map(|one| one.of).collect();
    let difference = worst.here - worst.there;
    if difference.abs() <= TOLERATED_DIFFERENCE {
        return Finding::ok(
            WHAT,
            format!("it agrees with the clock of {}", others.join(" and of ")),
        );
    }
    let direction = if difference > TimeDelta::zero() { "ahead of" } else { "behind" };
    let detail =
        format!("it is {} s {direction} the clock of {}", difference.num_seconds().abs(), worst.of);
    let fix = "synchronise the clocks of both machines with NTP";
    if difference.abs() <= MAX_DIFFERENCE {
        Finding::warning(WHAT, detail, fix)
    } else {
        Finding::failed(WHAT, detail, fix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn reading(of: &'static str, ahead: i64) -> Reading {
        let there = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Reading { of, here: there + TimeDelta::seconds(ahead), there }
    }

    #[test]
    fn clock_that_differs_most_is_reported() {
        let finding = check(&[reading("the edition", 1), reading("PostgreSQL", -10)]);
        assert_eq!(finding.state, State::Warning);
        assert_eq!(finding.detail, "it is 10 s behind the clock of PostgreSQL");
        assert_eq!(check(&[reading("PostgreSQL", 120)]).state, State::Failed);
    }

    #[test]
    fn compared_clocks_are_named() {
        let finding = check(&[reading("the edition", 1), reading("PostgreSQL", 0)]);
        assert_eq!(
            (finding.state, finding.detail.as_str()),
            (State::Ok, "it agrees with the clock of the edition and of PostgreSQL")
        );
        assert!(check(&[]).detail.contains("nothing to compare"));
    }
}
