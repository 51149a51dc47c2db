//! The table `listings` and its indexes. On AWS the deployment makes it; locally the process does.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TimeToLiveSpecification, TimeToLiveStatus,
};
use shared::contract::listing::categories_key;

/// The indexes: each has the partition key of its scope and the sort key of its order.
pub const INDEXES: [(&str, &str, &str); 6] = [
    ("all_by_price", "all_key", "price_key"),
    ("all_by_newest", "all_key", "id"),
    ("category_by_price", "category_key", "price_key"),
    ("category_by_newest", "category_key", "id"),
    ("seller_by_price", "seller_key", "price_key"),
    ("seller_by_newest", "seller_key", "id"),
];

/// What an index carries beside the keys: a card of the listing. Nothing that changes with every
/// sale is among it, so that selling one of many pieces writes to no index.
pub const CARD: [&str; 7] =
    ["name", "seller_id", "category", "amount", "currency", "product_version", "created_at"];

/// Why the table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("describing the table: {0}")]
    Describe(String),
    #[error("creating the table {name}: {cause}")]
    Create { name: String, cause: String },
    #[error("having expired tombstones dropped from the table {name}: {cause}")]
    Expiry { name: String, cause: String },
}

/// Makes the table unless it is there.
pub async fn ensure(client: &Client, name: &str) -> Result<(), TableError> {
    // Not by describing it: the local store counts every listing for that, which takes longer with
    // each of them, and at some hundred thousand longer than a call may take.
    let look = client.get_item().table_name(name).set_key(Some(categories_key()));
    match look.send().await {
        Ok(_) => return Ok(()),
        Err(error) if error.code() == Some("ResourceNotFoundException") => {}
        Err(error) => return Err(TableError::Describe(DisplayErrorContext(&error).to_string())),
    }
    let describe =
        |error: aws_sdk_dynamodb::error::BuildError| TableError::Describe(error.to_string());
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("bucket", KeyType::Hash).map_err(describe)?)
        .key_schema(key("id", KeyType::Range).map_err(describe)?)
        .attribute_definitions(attribute("bucket", ScalarAttributeType::N).map_err(describe)?);
    for text in ["id", "all_key", "category_key", "seller_key", "price_key"] {
        let definition = attribute(text, ScalarAttributeType::S).map_err(describe)?;
        request = request.attribute_definitions(definition);
    }
    for (index, partition, sort) in INDEXES {
        let projection = Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(CARD.map(ToOwned::to_owned).to_vec()))
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(index)
            .key_schema(key(partition, KeyType::Hash).map_err(describe)?)
            .key_schema(key(sort, KeyType::Range).map_err(describe)?)
            .projection(projection)
            .build()
            .map_err(describe)?;
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => ensure_expiry(client, name).await,
        Err(error) => match error.as_service_error() {
            Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
            Some(other) if other.code() == Some("ResourceInUseException") => Ok(()),
            _ => Err(TableError::Create {
                name: name.to_owned(),
                cause: DisplayErrorContext(&error).to_string(),
            }),
        },
    }
}

/// Has tombstones dropped when they have expired, also of a table that was made before they did.
pub async fn ensure_expiry(client: &Client, name: &str) -> Result<(), TableError> {
    let failed = |cause: String| TableError::Expiry { name: name.to_owned(), cause };
    let described = client
        .describe_time_to_live()
        .table_name(name)
        .send()
        .await
        .map_err(|error| failed(DisplayErrorContext(&error).to_string()))?;
    let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .attribute_name("expires_at")
        .enabled(true)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let request = client.update_time_to_live().table_name(name);
    match request.time_to_live_specification(specification).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(DisplayErrorContext(&error).to_string())),
    }
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, aws_sdk_dynamodb::error::BuildError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
}

fn attribute(
    name: &str,
    kind: ScalarAttributeType,
) -> Result<AttributeDefinition, aws_sdk_dynamodb::error::BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
}
