//! The table `listings` and its indexes. The deployment creates it on AWS, the process does locally.

use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification, TimeToLiveStatus,
};
use shared::contract::listing::categories_key;

/// The indexes: name, partition key (the scope) and sort key (the order).
pub const INDEXES: [(&str, &str, &str); 6] = [
    ("all_by_price", "all_key", "price_key"),
    ("all_by_newest", "all_key", "id"),
    ("category_by_price", "category_key", "price_key"),
    ("category_by_newest", "category_key", "id"),
    ("seller_by_price", "seller_key", "price_key"),
    ("seller_by_newest", "seller_key", "id"),
];

/// Attributes that an index holds besides its keys: those of a card. None of them changes with a sale,
/// so that selling one of many pieces writes to no index.
pub const CARD: [&str; 7] =
    ["name", "seller_id", "category", "amount", "currency", "product_version", "created_at"];

/// Why the table could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("reading from the table {name}")]
    Read { name: String, source: Box<dyn Error + Send + Sync> },
    #[error("describing the table")]
    Describe(#[from] BuildError),
    #[error("creating the table {name}")]
    Create { name: String, source: Box<dyn Error + Send + Sync> },
    #[error("turning on the expiry of tombstones in the table {name}")]
    Expiry { name: String, source: Box<dyn Error + Send + Sync> },
}

/// Creates the table unless it exists.
pub async fn ensure(client: &Client, name: &str) -> Result<(), TableError> {
    // A read instead of DescribeTable: for that, the local store counts every listing, and with some
    // hundred thousand this exceeds the timeout of a call.
    let read = client.get_item().table_name(name).set_key(Some(categories_key()));
    match read.send().await {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == Some("ResourceNotFoundException") => {}
        Err(error) => {
            return Err(TableError::Read { name: name.to_owned(), source: Box::new(error) });
        }
    }
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("bucket", KeyType::Hash)?)
        .key_schema(key("id", KeyType::Range)?)
        .attribute_definitions(attribute("bucket", ScalarAttributeType::N)?);
    for text in ["id", "all_key", "category_key", "seller_key", "price_key"] {
        let definition = attribute(text, ScalarAttributeType::S)?;
        request = request.attribute_definitions(definition);
    }
    for (index, partition, sort) in INDEXES {
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(CARD.map(ToOwned::to_owned).to_vec()))
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .key_schema(key(partition, KeyType::Hash)?)
            .key_schema(key(sort, KeyType::Range)?)
            .projection(projection)
            .build()?;
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => ensure_expiry(client, name).await,
        Err(error) => match error.as_service_error() {
            Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
            Some(other) if other.code() == Some("ResourceInUseException") => Ok(()),
            _ => Err(TableError::Create { name: name.to_owned(), source: Box::new(error) }),
        },
    }
}

/// Turns on the expiry of tombstones, also in a table that was created without it.
pub async fn ensure_expiry(client: &Client, name: &str) -> Result<(), TableError> {
    let failed =
        |source: Box<dyn Error + Send + Sync>| TableError::Expiry { name: name.to_owned(), source };
    let described = client
        .describe_time_to_live()
        .table_name(name)
        .send()
        .await
        .map_err(|error| failed(Box::new(error)))?;
    let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .attribute_name("expires_at")
        .enabled(true)
        .build()
        .map_err(|error| failed(Box::new(error)))?;
    let request = client.update_time_to_live().table_name(name);
    match request.time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(Box::new(error))),
    }
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
}
