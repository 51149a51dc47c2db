//! The categories in use: one item with a set, in the table of listings.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::categories_key;
use shared::dynamodb::Item;

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
    Ok(found.item.map(in_order).unwrap_or_default())
}

/// The categories of the item. DynamoDB gives the members of a set in any order.
fn in_order(mut item: Item) -> Vec<String> {
    match item.remove("categories") {
        Some(AttributeValue::Ss(mut categories)) => {
            categories.sort_unstable();
            categories
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_in_order_whatever_the_order_of_the_set() {
        let set = ["toys", "hats", "shoes"].map(ToOwned::to_owned).to_vec();
        let item = Item::from([("categories".to_owned(), AttributeValue::Ss(set))]);
        assert_eq!(in_order(item), ["hats", "shoes", "toys"]);
        assert_eq!(in_order(Item::new()), [""; 0]);
    }
}
