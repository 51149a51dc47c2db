//! The rules of reconciliation: (row, listing, now) -> difference.
//!
//! A difference seen once is a candidate, because the two stores are read at different moments and
//! events are in flight between them. It counts only if a second read, after those events have
//! arrived, shows the same gap.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use shared::contract::event_type::Parts;
use shared::contract::listing::{ListingItem, TOMBSTONE_KEPT, is_damage};
use shared::contract::product::ContentHash;
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;

/// The stock of a product in one of the stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StockPart {
    pub(crate) version: i64,
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
}

/// A product in the feed of inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: ProductId,
    pub(crate) version: i64,
    pub(crate) content_hash: ContentHash,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) stock: StockPart,
    pub(crate) stock_updated_at: DateTime<Utc>,
}

/// The compared attributes of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: ProductId,
    /// 0 if only stock has arrived, or if the version is unreadable.
    pub(crate) version: i64,
    pub(crate) content_hash: Option<ContentHash>,
    pub(crate) is_tombstone: bool,
    pub(crate) stock: StockPart,
    /// Whether the attributes read have the form of a listing and, in a deep run, match their hash and
    /// index keys.
    pub(crate) is_sound: bool,
    /// The category that buyers find it in, unless it is hidden.
    pub(crate) category: Option<String>,
    /// The highest position of an event applied to it; only a second read includes it.
    pub(crate) position: i64,
}

/// How a listing differs from its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The product has no listing.
    Missing,
    /// The listing is older than the product.
    Stale,
    /// The listing is newer than the product.
    Ahead,
    /// The listing has no product.
    Extra,
    /// The listing has the product's version and other content, or contradicts its own hash or keys.
    Altered,
    /// Only the stock in the listing differs.
    Stock,
}

/// A difference in one part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) kind: Kind,
    /// The version of the product; 0 if it does not exist.
    pub(crate) truth: i64,
    /// The version in the listing; 0 if it has no version.
    pub(crate) seen: i64,
    /// The earliest time at which it can have begun, if the product tells.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// The difference of one product, in at least one of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) id: ProductId,
    pub(crate) product: Option<Gap>,
    pub(crate) stock: Option<Gap>,
}

impl Difference {
    /// The same difference for a listing with a position that is not allocated yet, as after a restore.
    /// It would reject an event of the version it has, so the repair must use a higher version.
    pub(crate) fn requiring_new_version(self) -> Self {
        let raised = |gap: Gap| Gap { seen: gap.seen + i64::from(gap.seen == gap.truth), ..gap };
        Self { product: self.product.map(raised), stock: self.stock.map(raised), ..self }
    }
}

/// The outcome of the second read of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The difference is gone.
    Agrees,
    /// Events are still in flight: left for the next pass.
    Moving,
    /// The difference is confirmed, in these parts.
    Differs(Difference),
}

impl Difference {
    /// The reported kind: that of the product, or else that of its stock.
    pub(crate) fn kind(&self) -> Kind {
        self.product.or(self.stock).map_or(Kind::Altered, |gap| gap.kind)
    }

    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        let gaps = [self.product, self.stock];
        gaps.into_iter().flatten().filter_map(|gap| gap.since).min()
    }
}

/// Compares a product with its listing.
///
/// A product deleted longer ago than tombstones are kept counts as absent, and from then on a tombstone
/// equals the absence of a listing.
pub(crate) fn compare(
    row: Option<&Row>,
    listed: Option<&Listed>,
    now: DateTime<Utc>,
) -> Option<Difference> {
    let id = row.map(|row| row.id).or(listed.map(|listed| listed.id))?;
    let is_forgotten = |row: &Row| row.deleted_at.is_some_and(|at| at + TOMBSTONE_KEPT <= now);
    let truth = row.map_or(0, |row| row.version);
    let living = row.filter(|row| !is_forgotten(row));
    let (product, stock) = match (living, listed) {
        (None, None) => (None, None),
        (None, Some(listed)) => {
            let gone = listed.is_tombstone && listed.is_sound;
            let extra = Gap {
                kind: Kind::Extra,
                truth,
                seen: version_to_exceed(listed.version, truth),
                since: row.and_then(|row| row.deleted_at),
            };
            ((!gone).then_some(extra), None)
        }
        (Some(row), None) => {
            let missing =
                |truth, since| Gap { kind: Kind::Missing, truth, seen: 0, since: Some(since) };
            (
                Some(missing(row.version, row.updated_at)),
                // The stock of a deleted product is not shown, and a restore announces it again.
                (row.deleted_at.is_none())
                    .then(|| missing(row.stock.version, row.stock_updated_at)),
            )
        }
        (Some(row), Some(listed)) => (product_gap(row, listed), stock_gap(row, listed)),
    };
    (product.is_some() || stock.is_some()).then_some(Difference { id, product, stock })
}

/// The version that a repair has to exceed: 0 if the version in the listing can only be damage.
fn version_to_exceed(seen: i64, truth: i64) -> i64 {
    if is_damage(seen, truth) { 0 } else { seen }
}

/// Whether an item is in the bucket of its id. No event reaches an item in another bucket, and buyers
/// never see it.
pub(crate) fn is_in_place(id: ProductId, bucket: i32) -> bool {
    i32::from(bucket_of(id)) == bucket
}

fn product_gap(row: &Row, listed: &Listed) -> Option<Gap> {
    let kind = if listed.version == 0 && listed.is_sound {
        Kind::Missing
    } else if is_damage(listed.version, row.version) {
        Kind::Altered
    } else if listed.version > row.version {
        Kind::Ahead
    } else if !listed.is_sound {
        Kind::Altered
    } else if listed.version < row.version {
        Kind::Stale
    } else if listed.content_hash.as_ref() != Some(&row.content_hash)
        || listed.is_tombstone != row.deleted_at.is_some()
    {
        Kind::Altered
    } else {
        return None;
    };
    Some(Gap {
        kind,
        truth: row.version,
        seen: version_to_exceed(listed.version, row.version),
        since: (kind != Kind::Ahead).then_some(row.updated_at),
    })
}

fn stock_gap(row: &Row, listed: &Listed) -> Option<Gap> {
    if row.deleted_at.is_some() || (row.stock == listed.stock && listed.is_sound) {
        return None;
    }
    let seen = version_to_exceed(listed.stock.version, row.stock.version);
    let kind = if seen > row.stock.version { Kind::Ahead } else { Kind::Stock };
    Some(Gap {
        kind,
        truth: row.stock.version,
        seen,
        since: (kind != Kind::Ahead).then_some(row.stock_updated_at),
    })
}

/// Decides about a candidate by a second read. A part counts if it shows the same gap again and had no
/// event in flight before the second read began.
pub(crate) fn confirm(
    first: &Difference,
    second: Option<&Difference>,
    in_flight: Parts,
) -> Verdict {
    let Some(second) = second else {
        return Verdict::Agrees;
    };
    let confirmed = |a: Option<Gap>, b: Option<Gap>, moving: bool| a.filter(|_| a == b && !moving);
    let product = confirmed(first.product, second.product, in_flight.product);
    let stock = confirmed(first.stock, second.stock, in_flight.stock);
    if product.is_none() && stock.is_none() {
        return Verdict::Moving;
    }
    Verdict::Differs(Difference { id: first.id, product, stock })
}

/// Whether a stored listing is consistent: its hash, its bucket and its index keys match its content.
pub(crate) fn is_sound(item: &ListingItem) -> bool {
    if item.bucket != bucket_of(item.id) {
        return false;
    }
    let mut keyed = item.clone();
    keyed.set_index_keys();
    let keys_fit = keyed.all_key == item.all_key
        && keyed.category_key == item.category_key
        && keyed.seller_key == item.seller_key
        && keyed.price_key == item.price_key;
    if !keys_fit {
        return false;
    }
    if item.deleted_at.is_some() || item.product_version == 0 {
        return true;
    }
    item.product().is_some_and(|product| product.compute_hash() == product.content_hash)
}

/// Merges the rows and the listings of a bucket, both in the order of their ids, page by page.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    rows: VecDeque<Row>,
    listed: VecDeque<Listed>,
    rows_ended: bool,
    listed_ended: bool,
}

/// One product in each store; at least one of them has it.
pub(crate) type Pair = (Option<Row>, Option<Listed>);

impl Merge {
    pub(crate) fn needs_rows(&self) -> bool {
        self.rows.is_empty() && !self.rows_ended
    }

    pub(crate) fn needs_listed(&self) -> bool {
        self.listed.is_empty() && !self.listed_ended
    }

    /// Adds the next page of rows; `ended` if it is the last.
    pub(crate) fn push_rows(&mut self, rows: Vec<Row>, ended: bool) {
        self.rows.extend(rows);
        self.rows_ended = ended;
    }

    /// Adds the next page of listings; `ended` if it is the last.
    pub(crate) fn push_listed(&mut self, listed: Vec<Listed>, ended: bool) {
        self.listed.extend(listed);
        self.listed_ended = ended;
    }

    /// The next product, until both sides have ended. Neither side may need a page.
    pub(crate) fn next_pair(&mut self) -> Option<Pair> {
        let row = self.rows.front().map(|row| row.id);
        let listed = self.listed.front().map(|listed| listed.id);
        match (row, listed) {
            (None, None) => None,
            (Some(a), Some(b)) if a == b => Some((self.rows.pop_front(), self.listed.pop_front())),
            (Some(a), Some(b)) if b < a => Some((None, self.listed.pop_front())),
            (None, Some(_)) => Some((None, self.listed.pop_front())),
            (Some(_), _) => Some((self.rows.pop_front(), None)),
        }
    }
}

#[cfg(test)]
mod tests;
