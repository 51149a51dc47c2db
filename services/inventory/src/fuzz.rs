//! Entry points of the fuzzer, over the bodies that sellers send. A panic is a fault; the inputs
//! that once caused one are replayed as tests.

#![expect(clippy::unwrap_used, reason = "a panic is what the fuzzer looks for")]

use chrono::DateTime;
use shared::contract;
use shared::http;
use shared::id::{ProductId, SellerId};

use crate::http::input::{SentPatch, SentProduct};
use crate::product::{self, ChangeProduct, CreateProduct, Product, ProductRef};
use shared::expected::Expected;

const SHOE: &[u8] = br#"{
    "sku": "SHOE-42", "name": "Running shoe", "category": "shoes", "description": "Runs",
    "attributes": {"size": 42, "color": "red"}, "price": {"amount": 12990, "currency": "BRL"}
}"#;

/// A new product: an accepted product is the same after it was stored and read again.
pub fn new_product(data: &[u8]) {
    if let Some(product) = create(data) {
        assert_eq!(stored(&product), product);
        assert_eq!(product.compute_hash(), product.content_hash);
    }
}

/// A merge patch: applied twice, an accepted patch changes a product once.
pub fn merge_patch(data: &[u8]) {
    let before = create(SHOE).unwrap();
    let Ok(patch) = http::parse::<SentPatch>(data) else { return };
    let patch = ChangeProduct::from(patch);
    let change =
        |product: &Product| product::change(product, &patch, &Expected::Any, DateTime::UNIX_EPOCH);
    if let Ok(Some(after)) = change(&before) {
        assert_eq!(after.version, before.version + 1);
        assert_eq!(after.content_hash, after.compute_hash());
        assert_eq!(stored(&after), after);
        assert_eq!(change(&after), Ok(None));
    }
}

/// The product as the journal gives it back.
fn stored(product: &Product) -> Product {
    let json = serde_json::to_string(&ProductRef::from(product)).unwrap();
    serde_json::from_str::<contract::product::Product>(&json).unwrap().into()
}

fn create(data: &[u8]) -> Option<Product> {
    let sent: SentProduct = http::parse(data).ok()?;
    let command = CreateProduct::check(sent.into()).ok()?;
    let now = DateTime::UNIX_EPOCH;
    Some(product::create(command, SellerId::from_u128(1), ProductId::from_u128(2), now).ok()?.0)
}

#[cfg(test)]
mod tests {
    use testkit::fuzz::replay;

    #[test]
    fn kept_inputs_are_accepted_or_refused_without_a_panic() {
        replay("new_product", super::new_product);
        replay("merge_patch", super::merge_patch);
    }
}
