//! Cards: listings as the indexes hold them and as lists show them.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::contract::sync_feed::bucket_of;
use shared::dynamodb::Item;
use shared::id::{ProductId, SellerId};
use shared::money::Money;

/// A product in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ProductCard {
    #[schema(value_type = Uuid)]
    pub(crate) id: ProductId,
    #[schema(value_type = Uuid)]
    pub(crate) seller_id: SellerId,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) price: Money,
    pub(crate) in_stock: bool,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
}

impl ProductCard {
    /// Reads an item of an index partition. The partition decides `in_stock`. Attributes are moved out
    /// one by one, because a page has hundreds of items.
    ///
    /// # Errors
    /// The name of an attribute that is missing or invalid.
    pub(crate) fn read(item: &mut Item, in_stock: bool) -> Result<Self, &'static str> {
        let id = parsed(item, "id")?;
        // No event reaches a copy under another key, so it would show a stale product for ever.
        if number(item, "bucket")? != i64::from(bucket_of(id)) {
            return Err("bucket");
        }
        Ok(Self {
            id,
            seller_id: parsed(item, "seller_id")?,
            name: taken(item, "name")?,
            category: taken(item, "category")?,
            price: Money { amount: number(item, "amount")?, currency: parsed(item, "currency")? },
            in_stock,
            version: number(item, "product_version")?,
            created_at: parsed(item, "created_at")?,
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
    use shared::money::Currency;

    fn item() -> Item {
        let listing = ListingItem {
            name: Some("Shoe".to_owned()),
            seller_id: Some(SellerId::from_u128(2)),
            category: Some("shoes".to_owned()),
            amount: Some(1990),
            currency: Some(Currency::default()),
            product_version: 3,
            created_at: DateTime::from_timestamp(1_767_225_600, 0),
            ..ListingItem::empty(ProductId::from_u128(1))
        };
        serde_dynamo::aws_sdk_dynamodb_1::to_item(listing).unwrap()
    }

    #[test]
    fn card_is_what_the_projector_wrote() {
        let card = ProductCard {
            id: ProductId::from_u128(1),
            seller_id: SellerId::from_u128(2),
            name: "Shoe".to_owned(),
            category: "shoes".to_owned(),
            price: Money { amount: 1990, currency: Currency::default() },
            in_stock: true,
            version: 3,
            created_at: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
        };
        assert_eq!(ProductCard::read(&mut item(), true), Ok(card));
    }

    #[test]
    fn invalid_item_names_its_wrong_attribute() {
        for name in ["bucket", "id", "name", "seller_id", "amount", "currency", "created_at"] {
            let mut missing = item();
            missing.remove(name);
            assert_eq!(ProductCard::read(&mut missing, true), Err(name));
            let mut invalid = item();
            invalid.insert(name.to_owned(), AttributeValue::Bool(true));
            assert_eq!(ProductCard::read(&mut invalid, true), Err(name));
        }
    }
}
