//! The categories in use: one item with a set, in the table of listings.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::categories_key;

use super::listings::{Listings, StoreError};

/// Adds a category. Idempotent.
pub(crate) async fn add(listings: &Listings, category: &str) -> Result<(), StoreError> {
    listings
        .client
        .update_item()
        .table_name(&listings.table)
        .set_key(Some(categories_key()))
        .update_expression("add categories :category")
        .expression_attribute_values(":category", AttributeValue::Ss(vec![category.to_owned()]))
        .send()
        .await
        .map_err(StoreError::call("adding a category"))?;
    Ok(())
}

/// Reads the categories in use, in order.
pub(crate) async fn list(listings: &Listings) -> Result<Vec<String>, StoreError> {
    let found = listings
        .client
        .get_item()
        .table_name(&listings.table)
        .set_key(Some(categories_key()))
        .send()
        .await
        .map_err(StoreError::call("reading the categories"))?;
    let mut categories = match found.item.and_then(|mut item| item.remove("categories")) {
        Some(AttributeValue::Ss(categories)) => categories,
        _ => Vec::new(),
    };
    categories.sort_unstable();
    Ok(categories)
}
