//! The set of categories in use, which lies beside the listings.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::categories_key;

use super::listings::Listings;
use crate::error::StoreError;

/// The categories that are said to be in use, strongly consistent.
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

/// Adds categories; those that are there stay.
pub(crate) async fn add(listings: &Listings, categories: Vec<String>) -> Result<(), StoreError> {
    update(listings, "add categories :categories", categories).await
}

/// Takes categories away.
pub(crate) async fn remove(listings: &Listings, categories: Vec<String>) -> Result<(), StoreError> {
    update(listings, "delete categories :categories", categories).await
}

/// Sets are changed one by one, never replaced: the projector adds to them at the same time.
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
