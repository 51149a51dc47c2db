//! Every run ends by recounting the categories in use.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::FutureExt as _;
use serde_json::json;
use testkit::Interference;

use crate::test_bed::{Item, TABLE, TestBed};

fn key() -> Item {
    HashMap::from([
        ("bucket".to_owned(), AttributeValue::N("1024".to_owned())),
        ("id".to_owned(), AttributeValue::S("categories".to_owned())),
    ])
}

async fn recorded(bed: &TestBed) -> Vec<String> {
    let request = bed.client.get_item().table_name(TABLE).set_key(Some(key()));
    let item = request.send().await.unwrap().item.unwrap_or_default();
    let mut categories = match item.get("categories") {
        Some(AttributeValue::Ss(categories)) => categories.clone(),
        _ => Vec::new(),
    };
    categories.sort();
    categories
}

async fn record(bed: &TestBed, category: &str) {
    let update = bed.client.update_item().table_name(TABLE).set_key(Some(key()));
    let category = AttributeValue::Ss(vec![category.to_owned()]);
    let update = update.update_expression("add categories :c");
    update.expression_attribute_values(":c", category).send().await.unwrap();
}

#[tokio::test]
async fn category_is_removed_with_its_last_product() {
    let (bed, ids) = TestBed::with_products(2).await;
    let hat = bed.create("HAT", "hats").await;
    bed.arrive().await;
    bed.reconcile(false).await;
    assert_eq!(recorded(&bed).await, ["hats", "shoes"]);

    bed.change(hat, json!({"status": "archived"})).await;
    bed.arrive().await;
    bed.reconcile(false).await;
    assert_eq!(recorded(&bed).await, ["shoes"]);

    for id in ids {
        bed.delete(id).await;
    }
    bed.arrive().await;
    bed.reconcile(false).await;
    assert!(recorded(&bed).await.is_empty());
}

#[tokio::test]
async fn category_with_first_listing_in_flight_is_kept() {
    let (bed, _) = TestBed::with_products(1).await;
    bed.create("HAT", "hats").await;
    // As another projector does, just before it puts the listing.
    record(&bed, "hats").await;
    bed.reconcile(false).await;
    assert_eq!(recorded(&bed).await, ["hats", "shoes"]);
}

#[tokio::test]
async fn lost_category_is_recorded_again() {
    let (bed, _) = TestBed::with_products(1).await;
    let request = bed.client.delete_item().table_name(TABLE).set_key(Some(key()));
    request.send().await.unwrap();
    assert!(recorded(&bed).await.is_empty());
    bed.reconcile(false).await;
    assert_eq!(recorded(&bed).await, ["shoes"]);
}

#[tokio::test]
async fn category_that_comes_back_during_its_removal_is_kept() {
    for point in ["recount.added", "recount.removed"] {
        let (bed, ids) = TestBed::with_products(1).await;
        record(&bed, "hats").await;
        record(&bed, "toys").await;
        let bed = Arc::new(bed);
        let seller = Arc::clone(&bed);
        // Its first product is committed when the recount has decided, and not delivered.
        Interference::at(point, 1, move |_| {
            let seller = Arc::clone(&seller);
            async move {
                seller.create("HAT", "hats").await;
            }
            .boxed()
        });
        bed.reconcile_products(&ids, false).await;
        Interference::none();
        assert_eq!(recorded(&bed).await, ["hats", "shoes"], "committed at {point}");
    }
}
