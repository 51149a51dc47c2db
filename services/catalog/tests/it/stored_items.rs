//! Every attribute of the items in the table of listings, with its value.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::contract::inventory::Event;
use shared::contract::listing::{categories_key, key_of};
use shared::contract::product::Product;
use shared::host::intake::Handler as _;
use shared::id::ProductId;

use crate::{Catalogue, TABLE, delivery, listed, product, stock};

async fn item(catalogue: &Catalogue, key: HashMap<String, AttributeValue>) -> Value {
    let request = catalogue.dynamo.client.get_item().table_name(TABLE).set_key(Some(key));
    let found = request.send().await.unwrap().item.unwrap();
    serde_dynamo::aws_sdk_dynamodb_1::from_item(found).unwrap()
}

#[tokio::test]
async fn every_attribute_of_a_listing_is_read_back() {
    let catalogue = Catalogue::new().await;
    let id = ProductId::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0123);
    let created_at = catalogue.clock.now();
    catalogue.clock.advance(Duration::from_mins(1));
    let updated_at = catalogue.clock.now();
    let product = Product { updated_at, version: 4, ..product(id, created_at) }.hashed();
    let event = Event::ProductUpdated { product: product.clone() };
    let mut change = delivery(&event, id, 17, created_at);
    change.envelope.publishedtime = created_at + Duration::from_millis(3);
    change.received_at = created_at + Duration::from_millis(5);
    catalogue.projector.handle(&[change]).await.remove(0).unwrap();
    catalogue.clock.advance(Duration::from_mins(1));
    let sold = Event::StockChanged {
        stock: shared::contract::stock::Stock { held: 2, ..stock(9, 6, created_at) },
    };
    let sold = delivery(&sold, id, 18, updated_at);
    catalogue.projector.handle(&[sold]).await.remove(0).unwrap();

    let micros = 1_800_000_000_000_000_i64;
    let hop = |event: i64, published: i64, received: i64, written: i64| {
        let id = shared::id::EventId::from_u128(event.unsigned_abs().into());
        json!({"e": id, "n": event, "p": micros + published, "r": micros + received, "w": micros + written})
    };
    let seller = "00000000-0000-0000-0000-000000000007";
    let expected = json!({
        "bucket": 0x123, "id": id, "product_version": 4, "product_position": 17,
        "content_hash": product.content_hash, "seller_id": seller,
        "sku": "SKU-01890000-0000-7000-8000-000000000123", "name": "Running shoe",
        "description": "Light", "category": "shoes", "attributes": {"weight": 0.25},
        "amount": 100, "currency": "BRL", "status": "active",
        "created_at": "2027-01-15T08:00:00Z", "updated_at": "2027-01-15T08:01:00Z",
        "stock_version": 6, "stock_position": 18, "on_hand": 9, "held": 2,
        "stock_updated_at": "2027-01-15T08:00:00Z", "all_key": "BRL#i",
        "category_key": "shoes#BRL#i", "seller_key": format!("{seller}#BRL#i"),
        "price_key": format!("0000000000100#{id}"),
        "hops": [
            hop(17, 3_000, 5_000, 60_000_000),
            hop(18, 60_000_000, 60_000_000, 120_000_000),
        ],
    });
    assert_eq!(item(&catalogue, key_of(id)).await, expected);

    // A tombstone keeps what tells it from a newer event, until it may be deleted.
    let gone = Product { version: 5, deleted_at: Some(updated_at), ..product.clone() }.hashed();
    let deleted = Event::ProductDeleted { product: gone.clone() };
    catalogue.project(&[(deleted, id, 19)]).await;
    let tombstone = json!({
        "bucket": 0x123, "id": id, "product_version": 5, "product_position": 19,
        "content_hash": gone.content_hash, "deleted_at": "2027-01-15T08:01:00Z",
        "stock_version": 6, "stock_position": 18, "on_hand": 9, "held": 2,
        "stock_updated_at": "2027-01-15T08:00:00Z",
        "expires_at": 1_800_000_060_i64 + 35 * 24 * 60 * 60,
        "hops": [
            hop(17, 3_000, 5_000, 60_000_000),
            hop(18, 60_000_000, 60_000_000, 120_000_000),
            hop(19, 120_000_000, 120_000_000, 120_000_000),
        ],
    });
    assert_eq!(item(&catalogue, key_of(id)).await, tombstone);
    let categories = item(&catalogue, categories_key()).await;
    assert_eq!(categories, json!({"bucket": 1024, "id": "categories", "categories": ["shoes"]}));
}

#[tokio::test]
async fn every_header_of_a_page_is_read_back() {
    let catalogue = Catalogue::new().await;
    for _ in 0..2 {
        listed(&catalogue).await;
    }
    let page = catalogue.get("/v1/catalog/products?limit=1").await.expect(200);
    assert_eq!(page.header("content-type"), "application/json");
    assert_eq!(page.header("cache-control"), "public, max-age=1");
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    let next = format!("</v1/catalog/products?limit=1&cursor={cursor}>; rel=\"next\"");
    assert_eq!(page.header("link"), next);
}
