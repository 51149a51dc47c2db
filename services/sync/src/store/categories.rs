//! The recorded set of categories, an item of the listings table.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::categories_key;

use super::listings::Listings;
use crate::error::StoreError;

/// The recorded categories, strongly consistent.
pub(crate) async fn read(listings: &Listings) -> Result<Vec<String>, StoreError> {
    let found = listings
        .client
        .get_item()
        .table_name(&listings.table)
        .set_key(Some(categories_key()))
        .consistent_read(true)
        .send()
        .await
        .map_err(StoreError::dynamodb("reading the item of categories in the listings table"))?;
    match found.item.and_then(|mut item| item.remove("categories")) {
        Some(AttributeValue::Ss(categories)) => Ok(categories),
        _ => Ok(Vec::new()),
    }
}

/// Adds categories to the set.
pub(crate) async fn add(listings: &Listings, categories: Vec<String>) -> Result<(), StoreError> {
    update(listings, "add categories :categories", categories).await
}

/// Removes categories from the set.
pub(crate) async fn remove(listings: &Listings, categories: Vec<String>) -> Result<(), StoreError> {
    update(listings, "delete categories :categories", categories).await
}

/// Adds or removes elements and never replaces the set: the projector adds to it concurrently.
async fn update(
    listings: &Listings,
    expression: &str,
    categories: Vec<String>,
) -> Result<(), StoreError> {
    if categories.is_empty() {
        return Ok(());
    }
    listings
        .client
        .update_item()
        .table_name(&listings.table)
        .set_key(Some(categories_key()))
        .update_expression(expression)
        .expression_attribute_values(":categories", AttributeValue::Ss(categories))
        .send()
        .await
        .map_err(StoreError::dynamodb("updating the item of categories in the listings table"))?;
    Ok(())
}
