//! What sellers send, made to be anything: for the fuzzer, and for the inputs that it once found.
//! Each of these returns, or has found a fault.

#![expect(clippy::unwrap_used, reason = "what cannot be here is what the fuzzer looks for")]

use chrono::DateTime;
use shared::contract::product::Product;
use shared::http::{self, Expected};
use uuid::Uuid;

use crate::product::{self, CreateProduct};
use crate::sent::{SentPatch, SentProduct};

const SHOE: &[u8] = br#"{
    "sku": "SHOE-42", "name": "Running shoe", "category": "shoes", "description": "Runs",
    "attributes": {"size": 42, "color": "red"}, "price": {"amount": 12990, "currency": "BRL"}
}"#;

/// A new product: what is accepted is the same when it is stored and read again.
pub fn new_product(data: &[u8]) {
    if let Some(product) = create(data) {
        let stored = serde_json::to_string(&product).unwrap();
        assert_eq!(serde_json::from_str::<Product>(&stored).unwrap(), product);
        assert_eq!(product.compute_hash(), product.content_hash);
    }
}

/// A merge patch: what is accepted changes a product once.
pub fn merge_patch(data: &[u8]) {
    let before = create(SHOE).unwrap();
    let Ok(patch) = http::parse::<SentPatch>(data) else { return };
    let change = |product: &Product| {
        product::change(product, patch.clone(), &Expected::Any, DateTime::UNIX_EPOCH)
    };
    if let Ok(Some(after)) = change(&before) {
        assert_eq!(after.version, before.version + 1);
        assert_eq!(after.content_hash, after.compute_hash());
        let stored = serde_json::to_string(&after).unwrap();
        assert_eq!(serde_json::from_str::<Product>(&stored).unwrap(), after);
        assert_eq!(change(&after), Ok(None));
    }
}

fn create(data: &[u8]) -> Option<Product> {
    let sent: SentProduct = http::parse(data).ok()?;
    let command = CreateProduct::parse(sent).ok()?;
    let now = DateTime::UNIX_EPOCH;
    Some(product::create(command, Uuid::from_u128(1), Uuid::from_u128(2), now).ok()?.0)
}

#[cfg(test)]
mod tests {
    use testkit::fuzz::replay;

    #[test]
    fn every_input_that_is_kept_is_read_or_refused() {
        replay("new_product", super::new_product);
        replay("merge_patch", super::merge_patch);
    }
}
