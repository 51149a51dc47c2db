//! Generated products: as create requests, and as complete data for snapshots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::Clock;
use shared::contract::listing::ListingItem;
use shared::contract::product::{Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::id::{EventId, Id, Ids, RequestId};
use shared::money::{Currency, Money};
use uuid::{Builder, Uuid};

use crate::load::{self, Load};

const CATEGORIES: u64 = 50;
const SELLERS: u64 = 100;

/// A random prefix for the SKUs and idempotency keys of a run.
fn run_prefix() -> String {
    let id = Ids::System.next::<Uuid>(Clock::System.now()).simple().to_string();
    // The id starts with the time; only its end is random.
    id[id.len() - 12..].to_owned()
}

/// The body of a create request. It is as large as the product of the ceiling, and has every field
/// that is validated.
fn create_body(prefix: &str, number: u64) -> String {
    let (category, amount) = (number % CATEGORIES, 100 + number % 100_000);
    format!(
        r#"{{"sku":"{prefix}-{number}","name":"Product {number:07} blue widget","category":"cat-{category}","price":{{"amount":{amount},"currency":"BRL"}},"stock":{{"on_hand":10}}}}"#
    )
}

/// Requests that each create a product with a new idempotency key.
pub(crate) fn creates(address: SocketAddr, token: &str, connections: usize, seconds: u64) -> Load {
    let prefix = run_prefix();
    let headers = headers(token);
    Load {
        address,
        connections,
        duration: Duration::from_secs(seconds),
        status: 201,
        request: Arc::new(move |number, buffer| {
            let headers = format!("{headers}idempotency-key: {prefix}-{number}\r\n");
            load::post("/v1/products", &headers, &create_body(&prefix, number), buffer);
        }),
        observe: None,
    }
}

/// Requests that each create a hundred products.
pub(crate) fn creates_100(
    address: SocketAddr,
    token: &str,
    connections: usize,
    seconds: u64,
) -> Load {
    let prefix = run_prefix();
    let headers = headers(token);
    Load {
        address,
        connections,
        duration: Duration::from_secs(seconds),
        status: 200,
        request: Arc::new(move |number, buffer| {
            let items: Vec<String> = (number * 100..(number + 1) * 100)
                .map(|number| create_body(&prefix, number))
                .collect();
            let headers = format!("{headers}idempotency-key: {prefix}-{number}\r\n");
            let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
            load::post("/v1/products/batch", &headers, &body, buffer);
        }),
        observe: None,
    }
}

fn headers(token: &str) -> String {
    format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n")
}

/// Pseudorandom bits that depend only on `number`.
fn scramble(number: u64) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn id<T: Id>(number: u64, kind: u64, at: DateTime<Utc>) -> T {
    let random = [scramble(number ^ kind << 56), scramble(number.rotate_left(32) ^ kind)];
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random[0].to_be_bytes());
    bytes[8..].copy_from_slice(&random[1].to_be_bytes()[..2]);
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    T::from_uuid(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
}

/// A product with its first stock. The same number gives the same product.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) product: Product,
    pub(crate) stock: Stock,
    pub(crate) event_id: EventId,
    pub(crate) request_id: RequestId,
    /// The position of its event in the outbox.
    pub(crate) position: i64,
}

/// Generates the product with this number. One in ten is out of stock.
pub(crate) fn generate(number: u64) -> Generated {
    // One product every ten milliseconds from 1 January 2026 on.
    let index = i64::try_from(number).unwrap_or(0);
    let at = DateTime::from_timestamp_millis(1_767_225_600_000 + index * 10).unwrap_or_default();
    let amount = i64::try_from(scramble(number) % 1_000_000).unwrap_or(0);
    let product = Product {
        id: id(number, 1, at),
        seller_id: id(number % SELLERS, 2, DateTime::UNIX_EPOCH + TimeDelta::days(20_000)),
        sku: format!("SNAP-{number}"),
        name: format!("Product {number:07} blue widget"),
        description: None,
        category: format!("cat-{}", number % CATEGORIES),
        attributes: Attributes::new(),
        price: Money { amount, currency: Currency::default() },
        status: Status::Active,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: at,
        updated_at: at,
        deleted_at: None,
    }
    .hashed();
    let on_hand = if number % 10 == 9 { 0 } else { 10 };
    Generated {
        stock: Stock { on_hand, held: 0, version: 1, updated_at: at },
        event_id: id(number, 3, at),
        request_id: id(number, 4, at),
        position: index + 1,
        product,
    }
}

impl Generated {
    /// Its listing, as the projector would write it.
    pub(crate) fn listing(&self) -> ListingItem {
        let mut item = ListingItem::empty(self.product.id);
        item.set_product(&self.product, self.position);
        item.set_stock(&self.stock, self.position);
        item.set_index_keys();
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_product_is_reproducible_and_has_a_valid_hash() {
        let (one, again) = (generate(7), generate(7));
        assert_eq!(one.product, again.product);
        assert_eq!(one.product.compute_hash(), one.product.content_hash);
        assert_ne!(one.product.id, generate(8).product.id);
        assert!(generate(8).product.id > one.product.id, "ids increase with the numbers");
    }

    #[test]
    fn generated_products_are_spread_over_the_buckets() {
        let buckets: std::collections::BTreeSet<u16> =
            (0..10_000).map(|number| generate(number).listing().bucket).collect();
        assert!(buckets.len() > 1_000, "{}", buckets.len());
    }

    #[test]
    fn create_body_is_valid_for_the_write_side() {
        assert!(inventory::check(create_body("prefix", 42).as_bytes()).is_ok());
    }
}
