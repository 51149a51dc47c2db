//! The rules that limit attempts per email address.
//!
//! Attempts are counted whether or not the address has an account, so that a refusal reveals nothing.

use chrono::{DateTime, TimeDelta, Utc};

/// Attempts allowed per window.
pub(crate) const LIMIT: i32 = 10;

/// Length of a window. It starts with its first attempt and does not slide.
pub(crate) const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// How far in the future a window may begin. Clocks of processes differ, and concurrent requests are
/// counted in any order. Beyond that, the clock was set back, and the window is over: otherwise an
/// address would be refused until the clock has caught up.
pub(crate) const AHEAD: TimeDelta = TimeDelta::minutes(1);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Failed log-ins.
    Login,
    /// Codes sent by a client, right or wrong.
    Code,
    /// Requests that send a mail, so that no mailbox is flooded.
    Mail,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Code => "code",
            Self::Mail => "mail",
        }
    }
}

/// The stored window of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub made: i32,
    pub since: DateTime<Utc>,
}

/// Seconds until the next attempt is allowed; `None` if it is allowed now.
pub(crate) fn wait(window: Window, now: DateTime<Utc>) -> Option<u32> {
    let left = (window.since + WINDOW - now).min(WINDOW);
    if window.made < LIMIT || left <= TimeDelta::zero() || window.since > now + AHEAD {
        return None;
    }
    // Rounded up, so that a client that waits exactly this long is not refused again.
    Some(u32::try_from(left.num_seconds() + 1).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(made: i32) -> Window {
        Window { made, since: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn eleventh_attempt_waits_for_the_window_to_end() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(5);
        assert_eq!(wait(window(9), now), None);
        assert_eq!(wait(window(10), now), Some(601));
        assert_eq!(wait(window(500), now), Some(601));
    }

    #[test]
    fn attempt_is_allowed_after_the_wait_it_was_given() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(14 * 60_000 + 59_500);
        let seconds = wait(window(10), now).unwrap();
        assert_eq!(seconds, 1);
        let then = now + TimeDelta::seconds(i64::from(seconds));
        assert_eq!(wait(window(10), then), None);
    }

    #[test]
    fn window_beyond_the_difference_of_clocks_is_over() {
        let ahead = DateTime::UNIX_EPOCH - AHEAD;
        assert_eq!(wait(window(10), ahead), Some(15 * 60 + 1));
        assert_eq!(wait(window(10), ahead - TimeDelta::microseconds(1)), None);
    }
}
