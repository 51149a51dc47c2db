//! Cards: listings as the indexes have them.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use shared::contract::sync_feed::bucket_of;
use shared::dynamodb::Item;
use shared::money::Currency;
use uuid::Uuid;

/// A listing as an index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) seller_id: Uuid,
    pub(crate) category: String,
    pub(crate) amount: i64,
    pub(crate) currency: Currency,
    pub(crate) product_version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) in_stock: bool,
}

impl Card {
    /// Reads an item of an index partition whose listings are `in_stock`, or are not. Attribute by
    /// attribute, since every page has hundreds of them.
    ///
    /// # Errors
    /// The name of an attribute that is missing, or is not what it should be.
    pub(crate) fn read(item: &mut Item, in_stock: bool) -> Result<Self, &'static str> {
        let id = parsed(item, "id")?;
        // A copy under another key is reached by no event, and would show what nobody sells.
        if number(item, "bucket")? != i64::from(bucket_of(id)) {
            return Err("bucket");
        }
        Ok(Self {
            id,
            name: taken(item, "name")?,
            seller_id: parsed(item, "seller_id")?,
            category: taken(item, "category")?,
            amount: number(item, "amount")?,
            currency: parsed(item, "currency")?,
            product_version: number(item, "product_version")?,
            created_at: parsed(item, "created_at")?,
            in_stock,
        })
    }
}

fn taken(item: &mut Item, name: &'static str) -> Result<String, &'static str> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(name),
    }
}

fn parsed<T: FromStr>(item: &Item, name: &'static str) -> Result<T, &'static str> {
    let text = item.get(name).and_then(|value| value.as_s().ok());
    text.and_then(|text| text.parse().ok()).ok_or(name)
}

fn number(item: &Item, name: &'static str) -> Result<i64, &'static str> {
    let number = item.get(name).and_then(|value| value.as_n().ok());
    number.and_then(|number| number.parse().ok()).ok_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::contract::listing::ListingItem;

    fn item() -> Item {
        let listing = ListingItem {
            name: Some("Shoe".to_owned()),
            seller_id: Some(Uuid::from_u128(2)),
            category: Some("shoes".to_owned()),
            amount: Some(1990),
            currency: Some(Currency::default()),
            product_version: 3,
            created_at: DateTime::from_timestamp(1_767_225_600, 0),
            ..ListingItem::empty(Uuid::from_u128(1))
        };
        serde_dynamo::aws_sdk_dynamodb_1::to_item(listing).unwrap()
    }

    #[test]
    fn a_card_is_what_the_projector_wrote() {
        let card = Card {
            id: Uuid::from_u128(1),
            name: "Shoe".to_owned(),
            seller_id: Uuid::from_u128(2),
            category: "shoes".to_owned(),
            amount: 1990,
            currency: Currency::default(),
            product_version: 3,
            created_at: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
            in_stock: true,
        };
        assert_eq!(Card::read(&mut item(), true), Ok(card));
    }

    #[test]
    fn what_is_no_card_says_which_attribute_is_wrong() {
        for name in ["bucket", "id", "name", "seller_id", "amount", "currency", "created_at"] {
            let mut missing = item();
            missing.remove(name);
            assert_eq!(Card::read(&mut missing, true), Err(name));
            let mut other = item();
            other.insert(name.to_owned(), AttributeValue::Bool(true));
            assert_eq!(Card::read(&mut other, true), Err(name));
        }
    }
}
