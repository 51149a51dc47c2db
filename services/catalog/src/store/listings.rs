//! Listings by id: read, and put only if unchanged since they were read.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use shared::contract::listing::{ListingItem, key_of};
use shared::dynamodb::{self, Consistency, Item};
use shared::http::problem::Problem;
use shared::id::ProductId;
use shared::telemetry;

/// The table of listings. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Listings {
    pub(crate) client: Client,
    pub(crate) table: String,
}

/// A listing, with the attributes that a put must find unchanged.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) item: ListingItem,
    fences: [Option<AttributeValue>; 4],
}

/// The attributes that make up the two fences.
const FENCES: [&str; 4] =
    ["product_version", "product_position", "stock_version", "stock_position"];

/// A call to DynamoDB failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{doing}")]
    Call { doing: &'static str, transient: bool, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{doing}: converting the item {id}")]
    Form { doing: &'static str, id: ProductId, source: serde_dynamo::Error },
}

impl StoreError {
    pub(crate) fn call<E, R>(doing: &'static str) -> impl Fn(SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        move |error| Self::Call {
            doing,
            transient: dynamodb::is_transient(&error),
            source: Box::new(error),
        }
    }

    /// Whether the store is the cause and a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call { transient, .. } => *transient,
            Self::Form { .. } => false,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() { Self::unavailable(error) } else { Self::internal(error) }
    }
}

impl Listings {
    pub(crate) fn new(client: Client, table: &str) -> Self {
        Self { client, table: table.to_owned() }
    }

    /// Reads one listing, strongly consistent.
    pub(crate) async fn find(&self, id: ProductId) -> Result<Option<ListingItem>, StoreError> {
        let doing = "reading a listing";
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key_of(id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(StoreError::call(doing))?;
        found
            .item
            .map(serde_dynamo::aws_sdk_dynamodb_1::from_item)
            .transpose()
            .map_err(|source| StoreError::Form { doing, id, source })
    }

    /// Reads the listings of `ids` that exist.
    pub(crate) async fn read(
        &self,
        ids: &[ProductId],
        consistency: Consistency,
    ) -> Result<HashMap<ProductId, Stored>, StoreError> {
        let keys: Vec<Item> = ids.iter().map(|id| key_of(*id)).collect();
        let batches = dynamodb::batch_get(&self.client, &self.table, &keys, consistency, None)
            .await
            .map_err(|error| StoreError::Call {
                doing: "reading the listings of a batch",
                transient: error.is_transient(),
                source: Box::new(error),
            })?;
        let items = batches.into_iter().flat_map(|batch| batch.items);
        Ok(items.filter_map(Stored::read).map(|found| (found.item.id, found)).collect())
    }

    /// Puts `item` if both fences are still those of `before`, or if there is still no item.
    ///
    /// Returns whether it was put; `false` means that another projector was faster.
    pub(crate) async fn put_if_unchanged(
        &self,
        item: &ListingItem,
        before: Option<&Stored>,
    ) -> Result<bool, StoreError> {
        let doing = "putting a listing";
        let attributes = serde_dynamo::aws_sdk_dynamodb_1::to_item(item)
            .map_err(|source| StoreError::Form { doing, id: item.id, source })?;
        let mut put = self.client.put_item().table_name(&self.table).set_item(Some(attributes));
        put = match before {
            None => put.condition_expression("attribute_not_exists(id)"),
            Some(before) => {
                let mut condition = Vec::with_capacity(FENCES.len());
                for (name, value) in FENCES.iter().zip(&before.fences) {
                    match value {
                        Some(value) => {
                            condition.push(format!("{name} = :{name}"));
                            put =
                                put.expression_attribute_values(format!(":{name}"), value.clone());
                        }
                        None => condition.push(format!("attribute_not_exists({name})")),
                    }
                }
                put.condition_expression(condition.join(" and "))
            }
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(StoreError::call(doing)(error)),
            },
        }
    }
}

impl Stored {
    /// Reads an item. A damaged item counts as an empty listing, so that the next event rewrites it
    /// whole. Its remaining fences still guard the put.
    fn read(item: Item) -> Option<Self> {
        let id = item.get("id")?.as_s().ok()?.parse::<ProductId>().ok()?;
        let fences = FENCES.map(|name| item.get(name).cloned());
        let item = serde_dynamo::aws_sdk_dynamodb_1::from_item(item).unwrap_or_else(|error| {
            tracing::warn!(product.id = %id, error = telemetry::causes(&error), "a listing is damaged");
            // Its fences are kept: without them, a late event would win.
            let fence = |value: &Option<AttributeValue>| {
                value.as_ref().and_then(|value| value.as_n().ok()?.parse().ok()).unwrap_or(0)
            };
            let [product_version, product_position, stock_version, stock_position] =
                [0, 1, 2, 3].map(|nth| fence(&fences[nth]));
            ListingItem {
                product_version,
                product_position,
                stock_version,
                stock_position,
                ..ListingItem::empty(id)
            }
        });
        Some(Self { item, fences })
    }
}
