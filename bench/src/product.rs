//! Products that are generated up: as requests that create them, and whole, for snapshots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::Clock;
use shared::contract::listing::ListingItem;
use shared::contract::product::{Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::id::Ids;
use shared::money::{Currency, Money};
use uuid::{Builder, Uuid};

use crate::load::{self, Load};

const CATEGORIES: u64 = 50;
const SELLERS: u64 = 100;

/// A word that no other run has, for SKUs and idempotency keys.
fn word() -> String {
    let id = Ids::System.next(Clock::System.now()).simple().to_string();
    // The end of the id is random, its beginning the time.
    id[id.len() - 12..].to_owned()
}

/// A product as a seller sends it: with everything that has to be checked, and as large as the
/// product of the ceiling.
fn sent(word: &str, number: u64) -> String {
    let (category, amount) = (number % CATEGORIES, 100 + number % 100_000);
    format!(
        r#"{{"sku":"{word}-{number}","name":"Product {number:07} blue widget","category":"cat-{category}","price":{{"amount":{amount},"currency":"BRL"}},"stock":{{"on_hand":10}}}}"#
    )
}

/// Requests that create a product each, every one with an idempotency key of its own.
pub(crate) fn creates(address: SocketAddr, token: &str, connections: usize, seconds: u64) -> Load {
    let word = word();
    let headers = headers(token);
    Load {
        address,
        connections,
        duration: Duration::from_secs(seconds),
        status: 201,
        request: Arc::new(move |number, buffer| {
            let headers = format!("{headers}idempotency-key: {word}-{number}\r\n");
            load::post("/v1/products", &headers, &sent(&word, number), buffer);
        }),
        observe: None,
    }
}

/// Requests that create a hundred products each.
pub(crate) fn creates_100(
    address: SocketAddr,
    token: &str,
    connections: usize,
    seconds: u64,
) -> Load {
    let word = word();
    let headers = headers(token);
    Load {
        address,
        connections,
        duration: Duration::from_secs(seconds),
        status: 200,
        request: Arc::new(move |number, buffer| {
            let items: Vec<String> =
                (number * 100..(number + 1) * 100).map(|number| sent(&word, number)).collect();
            let headers = format!("{headers}idempotency-key: {word}-{number}\r\n");
            let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
            load::post("/v1/products/batch", &headers, &body, buffer);
        }),
        observe: None,
    }
}

fn headers(token: &str) -> String {
    format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n")
}

/// Some bits that are always the same for a number and look like chance.
fn scatter(number: u64) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn id(number: u64, kind: u64, at: DateTime<Utc>) -> Uuid {
    let random = [scatter(number ^ kind << 56), scatter(number.rotate_left(32) ^ kind)];
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random[0].to_be_bytes());
    bytes[8..].copy_from_slice(&random[1].to_be_bytes()[..2]);
    Builder::from_unix_timestamp_millis(u64::try_from(at.timestamp_millis()).unwrap_or(0), &bytes)
        .into_uuid()
}

/// A product with its first stock: always the same for a number.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) product: Product,
    pub(crate) stock: Stock,
    pub(crate) event_id: Uuid,
    pub(crate) request_id: Uuid,
    /// Where its event stood in the outbox.
    pub(crate) position: i64,
}

/// The product with this number. One in ten is sold out.
pub(crate) fn generate(number: u64) -> Generated {
    // The first of January 2026; then one every ten milliseconds.
    let whole = i64::try_from(number).unwrap_or(0);
    let at = DateTime::from_timestamp_millis(1_767_225_600_000 + whole * 10).unwrap_or_default();
    let amount = i64::try_from(scatter(number) % 1_000_000).unwrap_or(0);
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
        position: whole + 1,
        product,
    }
}

impl Generated {
    /// Its listing, as the projector would have put it.
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
    fn a_made_up_product_is_always_the_same_and_its_hash_is_right() {
        let (one, again) = (generate(7), generate(7));
        assert_eq!(one.product, again.product);
        assert_eq!(one.product.compute_hash(), one.product.content_hash);
        assert_ne!(one.product.id, generate(8).product.id);
        assert!(generate(8).product.id > one.product.id, "ids rise with the numbers");
    }

    #[test]
    fn made_up_products_are_spread_over_the_buckets() {
        let buckets: std::collections::BTreeSet<u16> =
            (0..10_000).map(|number| generate(number).listing().bucket).collect();
        assert!(buckets.len() > 1_000, "{}", buckets.len());
    }

    #[test]
    fn what_is_sent_is_what_the_write_side_takes() {
        assert!(inventory::check(sent("word", 42).as_bytes()).is_ok());
    }
}
