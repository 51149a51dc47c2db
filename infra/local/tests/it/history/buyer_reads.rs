//! Buyers' reads of one product: no read may show an older version than an earlier read.

use std::fmt;
use std::time::Duration;

/// Documented maximum age of a list page when it is computed or cached. What computing it and the response
/// take comes on top.
const STALENESS: Duration = Duration::from_secs(2);

/// The kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    /// The product by id, at `min_version` or later if that is set.
    ById { min_version: Option<i64> },
    /// A page of a list.
    List,
}

/// The response about one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Listed {
        version: i64,
        name: String,
    },
    /// The product is not listed: it was deleted, or has not arrived yet.
    Absent,
}

/// One read of one product. Times are since the history began.
#[derive(Clone, Debug)]
pub(crate) struct BuyerRead {
    pub(crate) client: u32,
    pub(crate) invoked: Duration,
    pub(crate) responded: Duration,
    pub(crate) kind: ReadKind,
    pub(crate) seen: Seen,
}

impl BuyerRead {
    /// Whether it confirms that a requested version has arrived.
    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.kind, ReadKind::ById { min_version: Some(_) })
    }
}

impl fmt::Display for BuyerRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, invoked, responded, kind, seen } = self;
        let (invoked, responded) = (invoked.as_secs_f64(), responded.as_secs_f64());
        write!(f, "{invoked:>11.6} .. {responded:>11.6} s  client {client:<2} {kind:?} -> {seen:?}")
    }
}

/// The least that a read may show, given all reads that completed before it began.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    /// The greatest version that was shown; 0 if none was.
    shown: i64,
    /// The least version that may be shown next.
    next: i64,
}

/// A read showed an older version than an earlier read.
#[derive(Debug)]
pub(crate) struct VersionDecreased {
    lines: Vec<String>,
    read: String,
    least: i64,
}

impl fmt::Display for VersionDecreased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "at least version {} must be shown by {}", self.least, self.read)
    }
}

/// Checks that no read shows an older version than a read that completed before it began: by id at
/// once, in a list after [`STALENESS`] and the time of the slowest list.
pub(crate) fn check_monotonic(buyer_reads: &[BuyerRead]) -> Result<(), VersionDecreased> {
    let mut by_response: Vec<&BuyerRead> = buyer_reads.iter().collect();
    by_response.sort_by_key(|read| read.responded);
    let lists = buyer_reads.iter().filter(|read| read.kind == ReadKind::List);
    let slowest = lists.map(|read| read.responded.saturating_sub(read.invoked)).max();
    let staleness = STALENESS + slowest.unwrap_or_default();
    // The floor that each read sets for later reads.
    let mut floors: Vec<(Duration, Floor)> = Vec::with_capacity(by_response.len());
    for read in &by_response {
        let floor_at = |moment: Duration| {
            let before = floors.iter().take_while(|(responded, _)| *responded < moment);
            before.fold(Floor::default(), |floor, (_, read)| Floor {
                shown: floor.shown.max(read.shown),
                next: floor.next.max(read.next),
            })
        };
        let (floor, wanted) = match read.kind {
            ReadKind::ById { min_version } => (floor_at(read.invoked), min_version.unwrap_or(0)),
            ReadKind::List => (floor_at(read.invoked.saturating_sub(staleness)), 0),
        };
        let sets = match &read.seen {
            Seen::Listed { version, .. } => {
                let least = floor.next.max(wanted);
                if *version < least {
                    let lines = by_response.iter().map(ToString::to_string).collect();
                    return Err(VersionDecreased { lines, read: read.to_string(), least });
                }
                Floor { shown: *version, next: *version }
            }
            // A deletion is a version too: greater than any that was shown, and at least the one that
            // was requested.
            Seen::Absent => {
                let deleted = if floor.shown > 0 { floor.shown + 1 } else { 0 }.max(wanted);
                Floor { shown: 0, next: if deleted > 0 { deleted + 1 } else { 0 } }
            }
        };
        floors.push((read.responded, sets));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_ID: ReadKind = ReadKind::ById { min_version: None };

    fn read(invoked: u64, responded: u64, kind: ReadKind, version: Option<i64>) -> BuyerRead {
        let at = Duration::from_millis;
        let listed = |version| Seen::Listed { version, name: "a".to_owned() };
        let seen = version.map_or(Seen::Absent, listed);
        BuyerRead { client: 1, invoked: at(invoked), responded: at(responded), kind, seen }
    }

    #[test]
    fn read_by_id_shows_at_least_the_version_shown_before() {
        let first = read(0, 10, BY_ID, Some(7));
        check_monotonic(&[first.clone(), read(11, 20, BY_ID, Some(7))]).unwrap();
        // Concurrent reads may show either version.
        check_monotonic(&[first.clone(), read(9, 20, BY_ID, Some(6))]).unwrap();
        let back = check_monotonic(&[first, read(11, 20, BY_ID, Some(6))]).unwrap_err();
        assert!(back.to_string().contains("at least version 7"), "{back}");
    }

    #[test]
    fn no_read_shows_less_than_a_confirmed_version() {
        let confirmed = ReadKind::ById { min_version: Some(5) };
        check_monotonic(&[read(0, 10, confirmed, Some(4))]).unwrap_err();
        // It was deleted in version 5 or later, so it can be listed again in version 6 or later.
        let deleted = read(0, 10, confirmed, None);
        check_monotonic(&[deleted.clone(), read(11, 20, BY_ID, Some(6))]).unwrap();
        check_monotonic(&[deleted, read(11, 20, BY_ID, Some(5))]).unwrap_err();
    }

    #[test]
    fn older_version_does_not_undo_a_seen_deletion() {
        let shown = read(0, 10, BY_ID, Some(3));
        let gone = read(11, 20, BY_ID, None);
        check_monotonic(&[shown.clone(), gone.clone(), read(21, 30, BY_ID, Some(5))]).unwrap();
        check_monotonic(&[shown.clone(), gone.clone(), read(21, 30, BY_ID, Some(4))]).unwrap_err();
        check_monotonic(&[shown, gone, read(21, 30, BY_ID, Some(3))]).unwrap_err();
        // A product that has not arrived yet may arrive.
        check_monotonic(&[read(0, 10, BY_ID, None), read(11, 20, BY_ID, Some(1))]).unwrap();
    }

    #[test]
    fn list_lags_by_at_most_its_documented_staleness() {
        let first = read(0, 10, BY_ID, Some(7));
        check_monotonic(&[first.clone(), read(1_000, 1_010, ReadKind::List, Some(6))]).unwrap();
        check_monotonic(&[first.clone(), read(2_020, 2_030, ReadKind::List, Some(6))]).unwrap();
        check_monotonic(&[first.clone(), read(2_021, 2_031, ReadKind::List, Some(6))]).unwrap_err();
        // A slow machine may have computed the page as long ago as any list took.
        let slow = read(500, 1_000, ReadKind::List, Some(7));
        check_monotonic(&[
            first.clone(),
            slow.clone(),
            read(2_510, 2_520, ReadKind::List, Some(6)),
        ])
        .unwrap();
        check_monotonic(&[first, slow, read(2_511, 2_521, ReadKind::List, Some(6))]).unwrap_err();
        // A later read by id must show at least what a list showed.
        let list = read(0, 10, ReadKind::List, Some(7));
        check_monotonic(&[list, read(11, 20, BY_ID, Some(6))]).unwrap_err();
    }
}
