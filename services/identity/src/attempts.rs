//! THE RULES of how often something may be tried with one address.
//!
//! They count by address whether or not anybody has it, so that being refused says nothing.

use chrono::{DateTime, TimeDelta, Utc};

/// How many tries a window has.
pub(crate) const LIMIT: i32 = 10;

/// How long a window is. It begins with its first try and does not move.
pub(crate) const WINDOW: TimeDelta = TimeDelta::minutes(15);

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Log-ins that failed.
    Login,
    /// Codes, right or wrong.
    Code,
    /// Requests that send a mail: nobody's mailbox is flooded.
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

/// The window of an address, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub made: i32,
    pub since: DateTime<Utc>,
}

/// How many seconds to wait before the next try; `None` if it may be made now.
pub(crate) fn wait(window: Window, now: DateTime<Utc>) -> Option<u32> {
    let left = window.since + WINDOW - now;
    if window.made < LIMIT || left <= TimeDelta::zero() {
        return None;
    }
    // Rounded up: who waits that long is not refused again.
    Some(u32::try_from(left.num_seconds() + 1).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(made: i32) -> Window {
        Window { made, since: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn the_eleventh_try_waits_for_the_window_to_end() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::minutes(5);
        assert_eq!(wait(window(9), now), None);
        assert_eq!(wait(window(10), now), Some(601));
        assert_eq!(wait(window(500), now), Some(601));
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(14 * 60_000 + 59_500);
        let seconds = wait(window(10), now).unwrap();
        assert_eq!(seconds, 1);
        let then = now + TimeDelta::seconds(i64::from(seconds));
        assert_eq!(wait(window(10), then), None);
    }
}
