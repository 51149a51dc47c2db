//! The set of categories in use is recounted at the end of every run.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::world::{Item, TABLE, World};

fn key() -> Item {
    HashMap::from([
        ("bucket".to_owned(), AttributeValue::N("1024".to_owned())),
        ("id".to_owned(), AttributeValue::S("categories".to_owned())),
    ])
}

async fn noted(world: &World) -> Vec<String> {
    let request = world.client.get_item().table_name(TABLE).set_key(Some(key()));
    let item = request.send().await.unwrap().item.unwrap_or_default();
    let mut categories = match item.get("categories") {
        Some(AttributeValue::Ss(categories)) => categories.clone(),
        _ => Vec::new(),
    };
    categories.sort();
    categories
}

#[tokio::test]
async fn a_category_is_dropped_with_its_last_product_and_not_before() {
    let (world, ids) = World::with_products(2).await;
    let hat = world.create("HAT", "hats").await;
    world.arrive().await;
    world.reconcile(false).await;
    assert_eq!(noted(&world).await, ["hats", "shoes"]);

    world.change(hat, json!({"status": "archived"})).await;
    world.arrive().await;
    world.reconcile(false).await;
    assert_eq!(noted(&world).await, ["shoes"]);

    for id in ids {
        world.delete(id).await;
    }
    world.arrive().await;
    world.reconcile(false).await;
    assert!(noted(&world).await.is_empty());
}

#[tokio::test]
async fn a_category_whose_first_listing_is_still_under_way_stays() {
    let (world, _) = World::with_products(1).await;
    world.create("HAT", "hats").await;
    // As another projector notes it, just before it puts the listing.
    world
        .client
        .update_item()
        .table_name(TABLE)
        .set_key(Some(key()))
        .update_expression("add categories :c")
        .expression_attribute_values(":c", AttributeValue::Ss(vec!["hats".to_owned()]))
        .send()
        .await
        .unwrap();
    world.reconcile(false).await;
    assert_eq!(noted(&world).await, ["hats", "shoes"]);
}

#[tokio::test]
async fn a_category_that_was_lost_is_noted_again() {
    let (world, _) = World::with_products(1).await;
    let request = world.client.delete_item().table_name(TABLE).set_key(Some(key()));
    request.send().await.unwrap();
    assert!(noted(&world).await.is_empty());
    world.reconcile(false).await;
    assert_eq!(noted(&world).await, ["shoes"]);
}
