//! What buyers saw of one product, in time: never less than was seen before, or confirmed.

use std::fmt;
use std::time::Duration;

/// How old a page of a list may be, as its description says.
const STALENESS: Duration = Duration::from_secs(2);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The product by its id, in this version or a later one if there is one.
    ById { min_version: Option<i64> },
    /// A page of a list.
    List,
}

/// What was answered about one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Listed {
        version: i64,
        name: String,
    },
    /// It is not there, any more or yet.
    Nothing,
}

/// One look at one product. Times are since the history began.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) client: u32,
    pub(crate) invoked: Duration,
    pub(crate) answered: Duration,
    pub(crate) asked: Asked,
    pub(crate) seen: Seen,
}

impl Sighting {
    /// Whether it was asked for a version, and told that it has come.
    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.asked, Asked::ById { min_version: Some(_) })
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, invoked, answered, asked, seen } = self;
        let (invoked, answered) = (invoked.as_secs_f64(), answered.as_secs_f64());
        write!(f, "{invoked:>11.6} .. {answered:>11.6} s  client {client:<2} {asked:?} -> {seen:?}")
    }
}

/// What all that was answered before a moment says about what may be seen after it.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    /// The greatest version that was seen alive; 0 where none was.
    alive: i64,
    /// The least version in which it may be seen alive.
    next: i64,
}

/// That a buyer was shown less than somebody had been shown before.
#[derive(Debug)]
pub(crate) struct WentBack {
    lines: Vec<String>,
    sighting: String,
    least: i64,
}

impl fmt::Display for WentBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "at least version {} should be seen by {}", self.least, self.sighting)
    }
}

/// Checks that no look shows less than one that was answered before it began: by id at once, in a
/// list after [`STALENESS`].
pub(crate) fn never_go_back(sightings: &[Sighting]) -> Result<(), WentBack> {
    let mut by_answer: Vec<&Sighting> = sightings.iter().collect();
    by_answer.sort_by_key(|sighting| sighting.answered);
    // What each says to those that follow it.
    let mut told: Vec<(Duration, Floor)> = Vec::with_capacity(by_answer.len());
    for sighting in &by_answer {
        let floor_at = |moment: Duration| {
            let before = told.iter().take_while(|(answered, _)| *answered < moment);
            before.fold(Floor::default(), |floor, (_, told)| Floor {
                alive: floor.alive.max(told.alive),
                next: floor.next.max(told.next),
            })
        };
        let (floor, wanted) = match sighting.asked {
            Asked::ById { min_version } => (floor_at(sighting.invoked), min_version.unwrap_or(0)),
            Asked::List => (floor_at(sighting.invoked.saturating_sub(STALENESS)), 0),
        };
        let tells = match &sighting.seen {
            Seen::Listed { version, .. } => {
                let least = floor.next.max(wanted);
                if *version < least {
                    let lines = by_answer.iter().map(ToString::to_string).collect();
                    return Err(WentBack { lines, sighting: sighting.to_string(), least });
                }
                Floor { alive: *version, next: *version }
            }
            // A deletion is a version, too: one after what was alive, and not before what was asked
            // for.
            Seen::Nothing => {
                let deleted = if floor.alive > 0 { floor.alive + 1 } else { 0 }.max(wanted);
                Floor { alive: 0, next: if deleted > 0 { deleted + 1 } else { 0 } }
            }
        };
        told.push((sighting.answered, tells));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_ID: Asked = Asked::ById { min_version: None };

    fn look(invoked: u64, answered: u64, asked: Asked, version: Option<i64>) -> Sighting {
        let at = Duration::from_millis;
        let listed = |version| Seen::Listed { version, name: "a".to_owned() };
        let seen = version.map_or(Seen::Nothing, listed);
        Sighting { client: 1, invoked: at(invoked), answered: at(answered), asked, seen }
    }

    #[test]
    fn who_reads_by_id_never_sees_less_than_anybody_before() {
        let first = look(0, 10, BY_ID, Some(7));
        never_go_back(&[first.clone(), look(11, 20, BY_ID, Some(7))]).unwrap();
        // At the same time, both may be.
        never_go_back(&[first.clone(), look(9, 20, BY_ID, Some(6))]).unwrap();
        let back = never_go_back(&[first, look(11, 20, BY_ID, Some(6))]).unwrap_err();
        assert!(back.to_string().contains("at least version 7"), "{back}");
    }

    #[test]
    fn nothing_less_is_seen_than_a_version_that_was_confirmed() {
        let confirmed = Asked::ById { min_version: Some(5) };
        never_go_back(&[look(0, 10, confirmed, Some(4))]).unwrap_err();
        // Deleted in version 5 or later, so alive in version 6 or later.
        let deleted = look(0, 10, confirmed, None);
        never_go_back(&[deleted.clone(), look(11, 20, BY_ID, Some(6))]).unwrap();
        never_go_back(&[deleted, look(11, 20, BY_ID, Some(5))]).unwrap_err();
    }

    #[test]
    fn a_deletion_that_was_seen_is_not_undone_by_an_older_version() {
        let alive = look(0, 10, BY_ID, Some(3));
        let gone = look(11, 20, BY_ID, None);
        never_go_back(&[alive.clone(), gone.clone(), look(21, 30, BY_ID, Some(5))]).unwrap();
        never_go_back(&[alive.clone(), gone.clone(), look(21, 30, BY_ID, Some(4))]).unwrap_err();
        never_go_back(&[alive, gone, look(21, 30, BY_ID, Some(3))]).unwrap_err();
        // What has not arrived yet may arrive.
        never_go_back(&[look(0, 10, BY_ID, None), look(11, 20, BY_ID, Some(1))]).unwrap();
    }

    #[test]
    fn a_list_may_lag_as_long_as_it_says_and_no_longer() {
        let first = look(0, 10, BY_ID, Some(7));
        never_go_back(&[first.clone(), look(1_000, 1_010, Asked::List, Some(6))]).unwrap();
        never_go_back(&[first, look(2_020, 2_030, Asked::List, Some(6))]).unwrap_err();
        // What a list shows is there.
        let list = look(0, 10, Asked::List, Some(7));
        never_go_back(&[list, look(11, 20, BY_ID, Some(6))]).unwrap_err();
    }
}
