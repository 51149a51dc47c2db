//! The events that this service writes, borrowed from its state.
//!
//! Promise: they serialise to the same bytes as the contract's [`Event`], without cloning the
//! state.
//!
//! [`Event`]: shared::contract::inventory::Event

use serde::Serialize;
use shared::contract::stock::Stock;

use crate::product::{Product, ProductRef};

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", content = "data")]
pub(crate) enum EventRef<'a> {
    ProductCreated { product: ProductRef<'a>, stock: &'a Stock },
    ProductUpdated { product: ProductRef<'a> },
    ProductDeleted { product: ProductRef<'a> },
    StockChanged { stock: &'a Stock },
}

impl<'a> EventRef<'a> {
    /// Announces a new product with its first stock.
    pub(crate) fn created(product: &'a Product, stock: &'a Stock) -> Self {
        Self::ProductCreated { product: product.into(), stock }
    }

    /// Announces what a product has become.
    pub(crate) fn changed(product: &'a Product) -> Self {
        let is_deleted = product.deleted_at.is_some();
        let product = product.into();
        if is_deleted { Self::ProductDeleted { product } } else { Self::ProductUpdated { product } }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use shared::contract;
    use shared::contract::envelope::Event as _;
    use shared::contract::inventory::Event;
    use shared::contract::product::{Attribute, Attributes, ContentHash, Status};
    use shared::id::{ProductId, SellerId};
    use shared::money::{Currency, Money};

    use super::*;

    /// The same event as the contract's owned type.
    fn owned(event: EventRef<'_>) -> Event {
        let product = |product: ProductRef<'_>| contract::product::Product::from(product);
        match event {
            EventRef::ProductCreated { product: created, stock } => {
                Event::ProductCreated { product: product(created), stock: stock.clone() }
            }
            EventRef::ProductUpdated { product: updated } => {
                Event::ProductUpdated { product: product(updated) }
            }
            EventRef::ProductDeleted { product: deleted } => {
                Event::ProductDeleted { product: product(deleted) }
            }
            EventRef::StockChanged { stock } => Event::StockChanged { stock: stock.clone() },
        }
    }

    /// The text of a golden event.
    fn golden_event(name: &str) -> String {
        let path = format!(
            "{}/../../shared/src/contract/golden/events/{name}.v1.json",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn golden_events_are_written_byte_for_byte() {
        for &name in Event::TYPES {
            let event: Event = serde_json::from_str(&golden_event(name)).unwrap();
            let expected = serde_json::to_string(&event).unwrap();
            let written = match event {
                Event::ProductCreated { product, stock } => {
                    let product = Product::from(product);
                    serde_json::to_string(&EventRef::created(&product, &stock)).unwrap()
                }
                Event::ProductUpdated { product } | Event::ProductDeleted { product } => {
                    let product = Product::from(product);
                    serde_json::to_string(&EventRef::changed(&product)).unwrap()
                }
                Event::StockChanged { stock } => {
                    serde_json::to_string(&EventRef::StockChanged { stock: &stock }).unwrap()
                }
            };
            assert_eq!(written, expected, "{name}");
        }
    }

    fn times() -> impl Strategy<Value = DateTime<Utc>> {
        (0_i64..4_000_000_000_000_000)
            .prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        let value = prop_oneof![
            any::<bool>().prop_map(Attribute::Flag),
            any::<i32>().prop_map(|number| Attribute::Integer(number.into())),
            (-1e9..1e9).prop_map(Attribute::Decimal),
            any::<String>().prop_map(Attribute::Text),
        ];
        prop::collection::btree_map(any::<String>(), value, 0..4)
    }

    fn products() -> impl Strategy<Value = Product> {
        let texts = (any::<String>(), any::<String>(), any::<Option<String>>(), any::<String>());
        let status = prop::sample::select(vec![Status::Draft, Status::Active, Status::Archived]);
        let times = (times(), times(), prop::option::of(times()));
        let rest = (any::<[u128; 2]>(), any::<i64>(), any::<i64>(), "[0-9a-f]{32}");
        (texts, attributes(), status, times, rest).prop_map(
            |((sku, name, description, category), attributes, status, times, rest)| {
                let ((created_at, updated_at, deleted_at), ([id, seller], amount, version, hash)) =
                    (times, rest);
                Product {
                    id: ProductId::from_u128(id),
                    seller_id: SellerId::from_u128(seller),
                    sku,
                    name,
                    description,
                    category,
                    attributes,
                    price: Money { amount, currency: Currency::default() },
                    status,
                    version,
                    content_hash: ContentHash(hash),
                    created_at,
                    updated_at,
                    deleted_at,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn events_have_the_bytes_of_the_contract(product in products(), on_hand in any::<i64>()) {
            let stock =
                Stock { on_hand, held: 1, version: 2, updated_at: DateTime::UNIX_EPOCH };
            for event in [
                EventRef::created(&product, &stock),
                EventRef::changed(&product),
                EventRef::StockChanged { stock: &stock },
            ] {
                let expected = serde_json::to_string(&owned(event)).unwrap();
                prop_assert_eq!(serde_json::to_string(&event).unwrap(), expected);
            }
        }

        #[test]
        fn hash_is_that_of_the_contract(product in products()) {
            let announced = contract::product::Product::from(ProductRef::from(&product));
            prop_assert_eq!(product.compute_hash(), announced.compute_hash());
        }
    }
}
