//! The clock of this machine, against whoever else tells the time. The network is not asked.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Finding;

const WHAT: &str = "clock";

/// A `Date` has whole seconds, and an answer takes a moment.
const TOLERATED: TimeDelta = TimeDelta::seconds(3);

/// Tokens and leases of a minute are wrong beyond this.
const TOO_MUCH: TimeDelta = TimeDelta::seconds(30);

/// One look at two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Whose clock the other is.
    pub(super) of: &'static str,
    pub(super) here: DateTime<Utc>,
    pub(super) there: DateTime<Utc>,
}

pub(super) fn check(readings: &[Reading]) -> Finding {
    let Some(worst) = readings.iter().max_by_key(|one| (one.here - one.there).abs()) else {
        return Finding::ok(WHAT, "there is nothing to compare it with: no edition, no database");
    };
    let others: Vec<&str> = readings.iter().map(|one| one.of).collect();
    let difference = worst.here - worst.there;
    if difference.abs() <= TOLERATED {
        return Finding::ok(WHAT, format!("it agrees with that of {}", others.join(" and of ")));
    }
    let direction = if difference > TimeDelta::zero() { "ahead of" } else { "behind" };
    let detail =
        format!("it is {} s {direction} that of {}", difference.num_seconds().abs(), worst.of);
    let fix = "set the clocks of both machines by NTP";
    if difference.abs() <= TOO_MUCH {
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
    fn the_clock_that_differs_most_is_told() {
        let finding = check(&[reading("the edition", 1), reading("PostgreSQL", -10)]);
        assert_eq!(finding.state, State::Warning);
        assert_eq!(finding.detail, "it is 10 s behind that of PostgreSQL");
        assert_eq!(check(&[reading("PostgreSQL", 120)]).state, State::Failed);
    }

    #[test]
    fn what_was_compared_is_said() {
        let finding = check(&[reading("the edition", 1), reading("PostgreSQL", 0)]);
        assert_eq!(
            (finding.state, finding.detail.as_str()),
            (State::Ok, "it agrees with that of the edition and of PostgreSQL")
        );
        assert!(check(&[]).detail.contains("nothing to compare"));
    }
}
