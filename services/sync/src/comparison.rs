//! THE RULES of reconciliation: (what is true, what is listed, now) -> what differs.
//!
//! A difference that is seen once is a candidate: both sides are read at different moments, and
//! events are under way between them. It counts once a second look, taken after everything that was
//! under way has arrived, finds the same gap again.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use shared::contract::listing::{ListingItem, TOMBSTONE_KEPT, is_damage};
use shared::contract::product::ContentHash;
use shared::contract::sync_feed::bucket_of;
use uuid::Uuid;

/// The stock of a product on one of the sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StockPart {
    pub(crate) version: i64,
    pub(crate) on_hand: i64,
    pub(crate) held: i64,
}

/// A product as inventory's feed has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) content_hash: ContentHash,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) stock: StockPart,
    pub(crate) stock_updated_at: DateTime<Utc>,
}

/// A product as its listing has it, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Uuid,
    /// 0 where only stock has arrived, or where it cannot be read.
    pub(crate) version: i64,
    pub(crate) content_hash: Option<ContentHash>,
    pub(crate) is_tombstone: bool,
    pub(crate) stock: StockPart,
    /// Whether what was read of it has the form of a listing and, in a deep run, agrees with
    /// itself.
    pub(crate) is_sound: bool,
    /// The category that buyers find it in, if they do.
    pub(crate) category: Option<String>,
    /// The greatest position of an event that it has seen; only a second look reads it.
    pub(crate) position: i64,
}

/// How a listing differs from what is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// There is a product and no listing.
    Missing,
    /// The listing is older than the product.
    Stale,
    /// The listing is newer than the product.
    Ahead,
    /// There is a listing and no product.
    Extra,
    /// The listing has the product's version and other content, or does not agree with itself.
    Altered,
    /// The listing has the product, but other stock.
    Stock,
}

/// A difference in one part of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) kind: Kind,
    /// The version that is true; 0 where there is none.
    pub(crate) truth: i64,
    /// The version in the listing; 0 where there is none.
    pub(crate) seen: i64,
    /// Since when it can have been there, as far as the product tells.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// What differs in one product; at least one of the parts does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) id: Uuid,
    pub(crate) product: Option<Gap>,
    pub(crate) stock: Option<Gap>,
}

impl Difference {
    /// The same where the listing has seen positions that have yet to be given out: what is
    /// announced again under a version that it has would be refused, so a greater one is needed.
    pub(crate) fn out_of_reach(self) -> Self {
        let raised = |gap: Gap| Gap { seen: gap.seen + i64::from(gap.seen == gap.truth), ..gap };
        Self { product: self.product.map(raised), stock: self.stock.map(raised), ..self }
    }
}

/// Which parts of a product are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnderWay {
    pub(crate) product: bool,
    pub(crate) stock: bool,
}

/// What a second look makes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no difference any more.
    Agrees,
    /// Something is still under way: for the next pass.
    Moves,
    /// It is a difference, in these parts.
    Differs(Difference),
}

impl Difference {
    /// The kind that it is reported as: that of the product before that of its stock.
    pub(crate) fn kind(&self) -> Kind {
        self.product.or(self.stock).map_or(Kind::Altered, |gap| gap.kind)
    }

    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        let gaps = [self.product, self.stock];
        gaps.into_iter().flatten().filter_map(|gap| gap.since).min()
    }
}

/// Compares what is true of a product with its listing.
///
/// A product that was deleted longer ago than tombstones are kept equals one that never was, and a
/// tombstone equals no listing then.
pub(crate) fn compare(
    row: Option<&Row>,
    listed: Option<&Listed>,
    now: DateTime<Utc>,
) -> Option<Difference> {
    let id = row.map(|row| row.id).or(listed.map(|listed| listed.id))?;
    let forgotten = |row: &Row| row.deleted_at.is_some_and(|at| at + TOMBSTONE_KEPT <= now);
    let truth = row.map_or(0, |row| row.version);
    let living = row.filter(|row| !forgotten(row));
    let (product, stock) = match (living, listed) {
        (None, None) => (None, None),
        (None, Some(listed)) => {
            let gone = listed.is_tombstone && listed.is_sound;
            let extra = Gap {
                kind: Kind::Extra,
                truth,
                seen: credible(listed.version, truth),
                since: row.and_then(|row| row.deleted_at),
            };
            ((!gone).then_some(extra), None)
        }
        (Some(row), None) => {
            let missing =
                |truth, since| Gap { kind: Kind::Missing, truth, seen: 0, since: Some(since) };
            (
                Some(missing(row.version, row.updated_at)),
                // Nobody sees the stock of what is deleted, and it comes back with the product.
                (row.deleted_at.is_none())
                    .then(|| missing(row.stock.version, row.stock_updated_at)),
            )
        }
        (Some(row), Some(listed)) => (product_gap(row, listed), stock_gap(row, listed)),
    };
    (product.is_some() || stock.is_some()).then_some(Difference { id, product, stock })
}

/// What is to be exceeded, of a version that is seen where `truth` is true: nothing of damage.
fn credible(seen: i64, truth: i64) -> i64 {
    if is_damage(seen, truth) { 0 } else { seen }
}

/// Whether an item lies in the bucket that its id has. No event reaches one that does not, and no buyer
/// is shown it.
pub(crate) fn is_in_place(id: Uuid, bucket: i32) -> bool {
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
        seen: credible(listed.version, row.version),
        since: (kind != Kind::Ahead).then_some(row.updated_at),
    })
}

fn stock_gap(row: &Row, listed: &Listed) -> Option<Gap> {
    if row.deleted_at.is_some() || (row.stock == listed.stock && listed.is_sound) {
        return None;
    }
    let seen = credible(listed.stock.version, row.stock.version);
    let kind = if seen > row.stock.version { Kind::Ahead } else { Kind::Stock };
    Some(Gap {
        kind,
        truth: row.stock.version,
        seen,
        since: (kind != Kind::Ahead).then_some(row.stock_updated_at),
    })
}

/// Decides about a candidate by a second look. A part counts if it shows the same gap again and
/// nothing was under way to it before the second look began.
pub(crate) fn confirm(
    first: &Difference,
    second: Option<&Difference>,
    under_way: UnderWay,
) -> Verdict {
    let Some(second) = second else {
        return Verdict::Agrees;
    };
    let same = |a: Option<Gap>, b: Option<Gap>, moves: bool| a.filter(|_| a == b && !moves);
    let product = same(first.product, second.product, under_way.product);
    let stock = same(first.stock, second.stock, under_way.stock);
    if product.is_none() && stock.is_none() {
        return Verdict::Moves;
    }
    Verdict::Differs(Difference { id: first.id, product, stock })
}

/// Whether a stored listing agrees with itself: its hash is that of its content, and the indexes
/// have it where its content belongs.
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

/// Two sides in the order of their ids, as far as they have been read.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    rows: VecDeque<Row>,
    listed: VecDeque<Listed>,
    rows_ended: bool,
    listed_ended: bool,
}

/// One product, as each side has it; at least one of them does.
pub(crate) type Pair = (Option<Row>, Option<Listed>);

impl Merge {
    pub(crate) fn needs_rows(&self) -> bool {
        self.rows.is_empty() && !self.rows_ended
    }

    pub(crate) fn needs_listed(&self) -> bool {
        self.listed.is_empty() && !self.listed_ended
    }

    /// The next page of one side; `ended` if there is none behind it.
    pub(crate) fn push_rows(&mut self, rows: Vec<Row>, ended: bool) {
        self.rows.extend(rows);
        self.rows_ended = ended;
    }

    /// The next page of the other side; `ended` if there is none behind it.
    pub(crate) fn push_listed(&mut self, listed: Vec<Listed>, ended: bool) {
        self.listed.extend(listed);
        self.listed_ended = ended;
    }

    /// The next product, unless both sides are at their end. Neither may need a page.
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
