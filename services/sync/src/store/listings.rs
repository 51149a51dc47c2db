//! Listings for comparison: first by bucket, in the order of their ids, then again by id, strongly
//! consistent.
//!
//! Every read counts what DynamoDB charges for it, in halves of a read unit.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, ReturnConsumedCapacity};
use shared::contract::listing::{ListingItem, key_of};
use shared::contract::product::ContentHash;
use shared::dynamodb::{self, Batch, Consistency, Item};
use shared::id::ProductId;
use shared::telemetry;

use crate::comparison::{Listed, StockPart, is_in_place, is_sound};
use crate::error::StoreError;

/// The attributes of the first read, unless the run is deep.
const FIRST_READ: &str =
    "id, product_version, content_hash, deleted_at, stock_version, on_hand, held, category_key";

/// The attributes of the second read, which also needs the positions that the listing has recorded.
const SECOND_READ: &str = "id, product_version, content_hash, deleted_at, stock_version, on_hand, \
                           held, product_position, stock_position";

/// The table of listings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Listings {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// A page of a bucket.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) listed: Vec<Listed>,
    /// The key to start the next page after, unless this is the last page.
    pub(crate) next: Option<Item>,
    pub(crate) half_units: i64,
}

impl Listings {
    pub fn new(client: Client, table: &str) -> Self {
        Self { client, table: table.to_owned() }
    }

    /// Up to `limit` listings of a bucket, eventually consistent. With `deep`, whole items are read and
    /// checked against their own hash.
    pub(crate) async fn page(
        &self,
        bucket: i32,
        start: Option<Item>,
        limit: i32,
        deep: bool,
    ) -> Result<Page, StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#bucket = :bucket")
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_values(":bucket", AttributeValue::N(bucket.to_string()))
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .limit(limit);
        if !deep {
            query = query.projection_expression(FIRST_READ);
        }
        let response = query.send().await.map_err(StoreError::dynamodb(format!(
            "querying bucket {bucket} of the listings table"
        )))?;
        let items = response.items.unwrap_or_default();
        let half_units = response
            .consumed_capacity
            .as_ref()
            .and_then(half_units)
            .unwrap_or_else(|| estimated_charge(&items, false));
        Ok(Page {
            listed: items
                .into_iter()
                .filter_map(|item| listed(item, deep))
                .filter(|listed| {
                    let in_place = is_in_place(listed.id, bucket);
                    if !in_place {
                        let id = listed.id;
                        tracing::error!(product.id = %id, bucket, "an item is in the wrong bucket");
                    }
                    in_place
                })
                .collect(),
            next: response.last_evaluated_key,
            half_units,
        })
    }

    /// The existing listings of `ids`, strongly consistent, and what reading them cost.
    pub(crate) async fn read(
        &self,
        ids: &[ProductId],
        deep: bool,
    ) -> Result<(HashMap<ProductId, Listed>, i64), StoreError> {
        let keys: Vec<Item> = ids.iter().map(|id| key_of(*id)).collect();
        let narrow = (!deep).then_some(SECOND_READ);
        let batches =
            dynamodb::batch_get(&self.client, &self.table, &keys, Consistency::Strong, narrow)
                .await
                .map_err(StoreError::batch("reading items of the listings table"))?;
        let mut found = HashMap::with_capacity(ids.len());
        let mut cost = 0;
        for Batch { items, consumed } in batches {
            let reported: Option<i64> = consumed.iter().map(half_units).sum();
            let reported = reported.filter(|_| !consumed.is_empty());
            cost += reported.unwrap_or_else(|| estimated_charge(&items, true));
            let listings = items.into_iter().filter_map(|item| listed(item, deep));
            found.extend(listings.map(|listing| (listing.id, listing)));
        }
        Ok((found, cost))
    }

    /// The existing listings of `ids` as they are stored, strongly consistent. `None` stands for a damaged
    /// one, which must not hide the others.
    pub(crate) async fn find_whole(
        &self,
        ids: &[ProductId],
    ) -> Result<HashMap<ProductId, Option<ListingItem>>, StoreError> {
        let keys: Vec<Item> = ids.iter().map(|id| key_of(*id)).collect();
        let batches =
            dynamodb::batch_get(&self.client, &self.table, &keys, Consistency::Strong, None)
                .await
                .map_err(StoreError::batch("reading whole items of the listings table"))?;
        let mut found = HashMap::with_capacity(ids.len());
        for item in batches.into_iter().flat_map(|batch| batch.items) {
            let Some(id) = item.get("id").and_then(|id| id.as_s().ok()?.parse().ok()) else {
                continue;
            };
            let listing = serde_dynamo::aws_sdk_dynamodb_1::from_item(item)
                .inspect_err(|error| {
                    let error = telemetry::causes(error);
                    tracing::warn!(product.id = %id, error, "a listing is damaged");
                })
                .ok();
            found.insert(id, listing);
        }
        Ok(found)
    }
}

/// Reads the compared attributes of an item. `None` if it has no id and so belongs to no product.
fn listed(item: Item, deep: bool) -> Option<Listed> {
    let id = item.get("id")?.as_s().ok()?.parse::<ProductId>().ok()?;
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
    let text = |name: &str| item.get(name)?.as_s().ok();
    let numbers =
        (number("product_version"), number("stock_version"), number("on_hand"), number("held"));
    let mut listed = Listed {
        id,
        version: numbers.0.unwrap_or(0),
        content_hash: text("content_hash").cloned().map(ContentHash),
        is_tombstone: text("deleted_at").is_some(),
        stock: StockPart {
            version: numbers.1.unwrap_or(0),
            on_hand: numbers.2.unwrap_or(0),
            held: numbers.3.unwrap_or(0),
        },
        is_sound: matches!(numbers, (Some(_), Some(_), Some(_), Some(_))),
        category: text("category_key").and_then(|key| key.split('#').next()).map(ToOwned::to_owned),
        position: number("product_position").max(number("stock_position")).unwrap_or(0),
    };
    if deep && listed.is_sound {
        listed.is_sound = serde_dynamo::aws_sdk_dynamodb_1::from_item::<ListingItem>(item)
            .is_ok_and(|item| is_sound(&item));
    }
    Some(listed)
}

/// The charge that DynamoDB reports.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    reason = "read units are whole multiples of a half, far below what a double keeps exactly"
)]
fn half_units(capacity: &ConsumedCapacity) -> Option<i64> {
    capacity.capacity_units.map(|units| (units * 2.0).round() as i64)
}

/// The least that a read of `items` costs, for a store that does not report it: half a unit for every
/// 4 KiB, twice that if it is strongly consistent.
fn estimated_charge(items: &[Item], consistent: bool) -> i64 {
    let bytes: usize = items.iter().map(size).sum();
    let pages = i64::try_from(bytes.div_ceil(4096)).unwrap_or(i64::MAX / 2);
    if consistent { pages * 2 } else { pages }
}

/// The size of an item of strings and numbers in bytes, roughly as DynamoDB counts it.
fn size(item: &Item) -> usize {
    item.iter()
        .map(|(name, value)| {
            name.len()
                + match value {
                    AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
                    _ => 1,
                }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pairs: &[(&str, AttributeValue)]) -> Item {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn n(value: &str) -> AttributeValue {
        AttributeValue::N(value.to_owned())
    }

    fn whole_item() -> [(&'static str, AttributeValue); 6] {
        [
            ("id", AttributeValue::S("01890000-0000-7000-8000-000000000001".to_owned())),
            ("product_version", n("3")),
            ("stock_version", n("2")),
            ("on_hand", n("5")),
            ("held", n("1")),
            ("category_key", AttributeValue::S("shoes#BRL#i".to_owned())),
        ]
    }

    #[test]
    fn invalid_number_makes_a_listing_unsound() {
        let good = listed(item(&whole_item()), false).unwrap();
        assert!(good.is_sound);
        assert_eq!(good.category.as_deref(), Some("shoes"));
        let mut broken = item(&whole_item());
        broken.insert("held".to_owned(), AttributeValue::S("one".to_owned()));
        assert!(!listed(broken, false).unwrap().is_sound);
    }

    #[test]
    fn item_without_an_id_is_skipped() {
        assert_eq!(listed(item(&whole_item()[1..]), false), None);
    }

    #[test]
    fn charge_is_estimated_if_not_reported() {
        let items = vec![item(&[("name", AttributeValue::S("x".repeat(4092)))]); 3];
        assert_eq!(estimated_charge(&items, false), 3);
        assert_eq!(estimated_charge(&items, true), 6);
        assert_eq!(estimated_charge(&[], false), 0);
    }
}
