//! Lists of listings, from the indexes. An index lags slightly behind the listings.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::{Availability, all_key, price_key, scoped_key};
use shared::dynamodb::Item;
use shared::id::{ProductId, SellerId};
use shared::money::Currency;

use crate::store::card::ProductCard;
use crate::store::listings::{Listings, StoreError};

/// Queries per page and partition, where a filter drops most items. After these, the page is short and
/// its cursor continues from there.
const MAX_QUERIES: usize = 5;

/// Items that one filtered query reads.
const FILTERED_CHUNK: i32 = 200;

/// The greatest amount that fits into a sort key.
pub(crate) const GREATEST_AMOUNT: i64 = 9_999_999_999_999;

/// The listings that a list covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Category(String),
    Seller(SellerId),
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Newest,
    Cheapest,
    Dearest,
}

/// A position in a list: the sort key of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// 0 in an order that ignores prices.
    pub(crate) amount: i64,
    pub(crate) id: ProductId,
}

/// A place as a comparable key.
type Key = (i64, u128);

impl Place {
    fn key(self) -> Key {
        (self.amount, self.id.uuid().as_u128())
    }
}

/// A requested list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) scope: Scope,
    pub(crate) order: Order,
    pub(crate) currency: Currency,
    /// `None` for both.
    pub(crate) availability: Option<Availability>,
    /// The least and the greatest price, inclusive; `None` for every price.
    pub(crate) amounts: Option<(i64, i64)>,
    pub(crate) after: Option<Place>,
}

/// A page of cards, and the place after which the next page begins.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cards: Vec<ProductCard>,
    pub(crate) next: Option<Place>,
}

impl Order {
    fn ascending(self) -> bool {
        self == Self::Cheapest
    }

    fn by_price(self) -> bool {
        self != Self::Newest
    }
}

impl List {
    fn index(&self) -> &'static str {
        match (&self.scope, self.order.by_price()) {
            (Scope::All, true) => "all_by_price",
            (Scope::All, false) => "all_by_newest",
            (Scope::Category(_), true) => "category_by_price",
            (Scope::Category(_), false) => "category_by_newest",
            (Scope::Seller(_), true) => "seller_by_price",
            (Scope::Seller(_), false) => "seller_by_newest",
        }
    }

    fn partition(&self, availability: Availability) -> (&'static str, String) {
        match &self.scope {
            Scope::All => ("all_key", all_key(self.currency, availability)),
            Scope::Category(category) => {
                ("category_key", scoped_key(category, self.currency, availability))
            }
            Scope::Seller(id) => {
                ("seller_key", scoped_key(&id.to_string(), self.currency, availability))
            }
        }
    }

    fn place(&self, card: &ProductCard) -> Place {
        Place { amount: if self.order.by_price() { card.price.amount } else { 0 }, id: card.id }
    }

    /// Whether `a` comes before `b` in this list.
    fn precedes(&self, a: Place, b: Place) -> bool {
        let (a, b) = ((a.amount, a.id), (b.amount, b.id));
        if self.order.ascending() { a < b } else { a > b }
    }

    /// The least and the greatest key left in the list; `None` at its end.
    fn bounds(&self) -> Option<(Key, Key)> {
        if self.amounts.is_some_and(|(min, max)| min > max) {
            return None;
        }
        let (mut low, mut high) = if self.order.by_price() {
            let (min, max) = self.amounts.unwrap_or((0, GREATEST_AMOUNT));
            ((min, 0), (max, u128::MAX))
        } else {
            ((0, 0), (0, u128::MAX))
        };
        if let Some(after) = self.after {
            let at = after.key();
            if self.order.ascending() {
                low = low.max(successor(at));
            } else {
                high = high.min(predecessor(at)?);
            }
        }
        (low <= high).then_some((low, high))
    }

    /// A key in the form of the index.
    fn sort_key(&self, (amount, id): Key) -> String {
        let id = ProductId::from_u128(id);
        if self.order.by_price() { price_key(amount, id) } else { id.to_string() }
    }

    /// Reads an item that the index returned between `low` and `high`.
    ///
    /// # Errors
    /// The name of a damaged attribute. A card that its own attributes place outside of these bounds is
    /// damaged too: the next page would begin there, and the list might never end.
    fn read(
        &self,
        item: &mut Item,
        availability: Availability,
        (low, high): (Key, Key),
    ) -> Result<ProductCard, &'static str> {
        let card = ProductCard::read(item, availability == Availability::InStock)?;
        let key = self.place(&card).key();
        if low <= key && key <= high { Ok(card) } else { Err("price_key") }
    }

    /// The amounts to filter by, in an order that the index does not sort by price.
    fn filtered(&self) -> Option<(i64, i64)> {
        self.amounts.filter(|_| !self.order.by_price())
    }
}

fn successor((amount, id): Key) -> Key {
    id.checked_add(1).map_or((amount + 1, 0), |id| (amount, id))
}

fn predecessor((amount, id): Key) -> Option<Key> {
    match id.checked_sub(1) {
        Some(id) => Some((amount, id)),
        None => (amount > 0).then_some((amount - 1, u128::MAX)),
    }
}

/// The result of one partition of an index.
struct Part {
    cards: Vec<ProductCard>,
    /// The place up to which the partition was read, if it may hold more.
    frontier: Option<Place>,
}

impl Listings {
    /// Reads one page of `list`: at most `limit` cards.
    pub(crate) async fn list(&self, list: &List, limit: usize) -> Result<Found, StoreError> {
        let Some(bounds) = list.bounds() else {
            return Ok(Found::default());
        };
        let parts = if let Some(one) = list.availability {
            vec![self.part(list, one, bounds, limit).await?]
        } else {
            let [a, b] = Availability::BOTH;
            let (a, b) = tokio::try_join!(
                self.part(list, a, bounds, limit),
                self.part(list, b, bounds, limit),
            )?;
            vec![a, b]
        };
        Ok(merge(list, parts, limit))
    }

    /// Reads one partition until there are more than `limit` cards, or up to its end.
    async fn part(
        &self,
        list: &List,
        availability: Availability,
        bounds: (Key, Key),
        limit: usize,
    ) -> Result<Part, StoreError> {
        let doing = "querying listings";
        let (low, high) = (list.sort_key(bounds.0), list.sort_key(bounds.1));
        let filtered = list.filtered();
        let (partition, value) = list.partition(availability);
        let sort = if list.order.by_price() { "price_key" } else { "id" };
        let mut part = Part { cards: Vec::new(), frontier: None };
        let mut start: Option<Item> = None;
        for _ in 0..MAX_QUERIES {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(list.index())
                .key_condition_expression(
                    "#partition = :partition and #sort between :low and :high",
                )
                .expression_attribute_names("#partition", partition)
                .expression_attribute_names("#sort", sort)
                .expression_attribute_values(":partition", AttributeValue::S(value.clone()))
                .expression_attribute_values(":low", AttributeValue::S(low.clone()))
                .expression_attribute_values(":high", AttributeValue::S(high.clone()))
                .scan_index_forward(list.order.ascending())
                .set_exclusive_start_key(start.take());
            query = if let Some((min, max)) = filtered {
                query
                    .limit(FILTERED_CHUNK)
                    .filter_expression("amount between :min and :max")
                    .expression_attribute_values(":min", number(min))
                    .expression_attribute_values(":max", number(max))
            } else {
                // One more than the page holds, to learn whether there is a next page.
                let wanted = limit + 1 - part.cards.len();
                query.limit(i32::try_from(wanted).unwrap_or(i32::MAX))
            };
            let response = query.send().await.map_err(StoreError::call(doing))?;
            for mut item in response.items.unwrap_or_default() {
                match list.read(&mut item, availability, bounds) {
                    Ok(card) => part.cards.push(card),
                    // One damaged listing must not hide the rest of the page.
                    Err(attribute) => {
                        let id = item.get("id").and_then(|id| id.as_s().ok());
                        tracing::warn!(product.id = id, attribute, "a damaged listing is left out");
                        metrics::counter!("vitrina_listings_damaged_total").increment(1);
                    }
                }
            }
            start = response.last_evaluated_key;
            let Some(last) = &start else {
                part.frontier = None;
                return Ok(part);
            };
            // If the last key is damaged, the last readable card has to do.
            let place = place_of(last, list.order);
            part.frontier =
                place.or(part.cards.last().map(|card| list.place(card))).or(part.frontier);
            if part.cards.len() > limit {
                break;
            }
        }
        Ok(part)
    }
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The place of DynamoDB's last evaluated key.
fn place_of(key: &Item, order: Order) -> Option<Place> {
    let id = key.get("id")?.as_s().ok()?.parse().ok()?;
    let amount = if order.by_price() {
        key.get("price_key")?.as_s().ok()?.split('#').next()?.parse().ok()?
    } else {
        0
    };
    Some(Place { amount, id })
}

/// Merges the results of the partitions into one page. It ends where the first partition stopped
/// reading: cards beyond that place may have to come before those of other partitions.
fn merge(list: &List, parts: Vec<Part>, limit: usize) -> Found {
    let frontier = parts
        .iter()
        .filter_map(|part| part.frontier)
        .reduce(|a, b| if list.precedes(a, b) { a } else { b });
    let mut found: Vec<ProductCard> = parts.into_iter().flat_map(|part| part.cards).collect();
    found.retain(|card| frontier.is_none_or(|frontier| !list.precedes(frontier, list.place(card))));
    found.sort_by(|a, b| {
        let (a, b) = (list.place(a), list.place(b));
        if list.precedes(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
    });
    // One more than the page holds tells whether there is a next page.
    let mut cards: Vec<ProductCard> = Vec::with_capacity(limit + 1);
    for card in found {
        // A listing that just moved between the partitions may be in both, and at another price.
        if cards.len() <= limit && cards.iter().all(|other| other.id != card.id) {
            cards.push(card);
        }
    }
    let more = cards.len() > limit;
    cards.truncate(limit);
    let next = if more || (frontier.is_some() && cards.len() == limit) {
        cards.last().map(|card| list.place(card))
    } else {
        frontier
    };
    Found { cards, next }
}

#[cfg(test)]
mod tests;
