//! Products. One statement writes a row, its journal entry and its outbox pointer, so either all of
//! them exist or none.
//!
//! Each connection plans a statement once, perhaps while there are few products, and keeps a plan
//! that is wrong for many. So each condition that must not use an index is written in a form that no
//! index supports (`is not distinct from`, `num_nulls`); see `docs/decisions/0019`.

mod insert;

use chrono::{DateTime, Utc};
use shared::contract::product::{Attributes, ContentHash, Status};
use shared::id::{EventId, ProductId, RequestId, SellerId, UserId};
use shared::money::Money;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::{Cause, DecodeError, StoreError, doing, to_json};
use crate::event::EventRef;
use crate::product::Product;

pub(crate) use super::WriteError;
pub(crate) use insert::{NewRow, insert};

/// Writes a version of a product and the event that announces it, unless a concurrent change came
/// first.
///
/// Returns whether it was written: only if the stored version is the one before `product`'s. With
/// `with_stock` the stock is announced again as well, because a listing forgets it once its
/// tombstone expires.
///
/// # Errors
/// [`WriteError::SkuTaken`] if another product of the seller has the SKU and is not deleted.
pub(crate) async fn update(
    pool: &PgPool,
    product: &Product,
    event: &EventRef<'_>,
    change: &str,
    cause: &Cause,
    with_stock: bool,
) -> Result<bool, WriteError> {
    replace(pool, product.version - 1, product, event, change, cause, with_stock).await
}

/// As [`update`], but with any version before `product`'s: a repair may skip versions.
pub(crate) async fn replace(
    executor: impl PgExecutor<'_>,
    before: i64,
    product: &Product,
    event: &EventRef<'_>,
    change: &str,
    cause: &Cause,
    with_stock: bool,
) -> Result<bool, WriteError> {
    let event = to_json(event)?;
    let stored = sqlx::query!(
        "with product as (
             update inventory.products set
                 sku = $3, name = $4, description = $5, category = $6, attributes = $7,
                 amount = $8, currency = $9, status = $10, version = $2, content_hash = $11,
                 updated_at = $12, deleted_at = $13
             where id = $1 and version = $21
             returning id),
         journal as (
             insert into inventory.journal
                 (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
                  traceparent, requested_at, committed_at)
             select 'product', id, $2, $14, $15, $16::text::json, $17, $18, $19, $20, $12
             from product)
         insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         select aggregate, id, version, $12
         from (
             select 1 as nth, 'product' as aggregate, id, $2::bigint as version from product
             union all
             -- the first version of a stock has travelled with its product
             select 2, case s.version when 1 then 'product' else 'stock' end, s.product_id, s.version
             from inventory.stock s
             where $22 and s.product_id = (select id from product)) announced
         order by nth",
        product.id as ProductId,
        product.version,
        product.sku,
        product.name,
        product.description,
        product.category,
        Json(&product.attributes) as Json<&Attributes>,
        product.price.amount,
        product.price.currency.code(),
        product.status.as_str(),
        product.content_hash.0,
        product.updated_at,
        product.deleted_at,
        cause.event_id as EventId,
        change,
        event,
        cause.actor as UserId,
        cause.request.id as RequestId,
        cause.request.traceparent,
        cause.request.requested_at,
        before,
        with_stock,
    )
    .execute(executor)
    .await
    .map_err(doing("writing a version of a product to inventory.products"))?;
    Ok(stored.rows_affected() > 0)
}

/// A row of `inventory.products`.
struct Row {
    id: ProductId,
    seller_id: SellerId,
    sku: String,
    name: String,
    description: Option<String>,
    category: String,
    attributes: Json<Attributes>,
    amount: i64,
    currency: String,
    status: String,
    version: i64,
    content_hash: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Product {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        let fault = |column, source| DecodeError {
            table: "inventory.products",
            column,
            row: row.id.to_string(),
            source,
        };
        let currency = row.currency.parse().map_err(|error| fault("currency", Box::from(error)))?;
        let status =
            row.status.parse::<Status>().map_err(|error| fault("status", Box::from(error)))?;
        Ok(Self {
            id: row.id,
            seller_id: row.seller_id,
            sku: row.sku,
            name: row.name,
            description: row.description,
            category: row.category,
            attributes: row.attributes.0,
            price: Money { amount: row.amount, currency },
            status,
            version: row.version,
            content_hash: ContentHash(row.content_hash),
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        })
    }
}

fn decode(row: Option<Row>) -> Result<Option<Product>, sqlx::Error> {
    row.map(Product::try_from).transpose()
}

/// Selects whole rows: `select!("from .. where ..", parameters)`.
macro_rules! select {
    ($from:literal $(, $parameter:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select id, seller_id, sku, name, description, category,
                      attributes as "attributes: Json<Attributes>", amount, currency, status,
                      version, content_hash, created_at, updated_at, deleted_at
               "# + $from
            $(, $parameter)*
        )
    };
}

/// Finds a product of the seller, deleted or not.
pub(crate) async fn find_including_deleted(
    pool: &PgPool,
    seller_id: SellerId,
    id: ProductId,
) -> Result<Option<Product>, StoreError> {
    select!(
        r#"from inventory.products where id = $1 and seller_id is not distinct from $2"#,
        id as ProductId,
        seller_id as SellerId,
    )
    .fetch_optional(pool)
    .await
    .and_then(decode)
    .map_err(doing("reading a product of inventory.products"))
}

/// Finds a product of any seller, deleted or not, and locks it until the transaction ends.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    id: ProductId,
) -> Result<Option<Product>, StoreError> {
    select!(
        r#"from inventory.products where id = $1
           for update"#,
        id as ProductId,
    )
    .fetch_optional(connection)
    .await
    .and_then(decode)
    .map_err(doing("locking a product of inventory.products"))
}

/// Finds a product of the seller that is not deleted.
pub(crate) async fn find(
    pool: &PgPool,
    seller_id: SellerId,
    id: ProductId,
) -> Result<Option<Product>, StoreError> {
    let product = find_including_deleted(pool, seller_id, id).await?;
    Ok(product.filter(|product| product.deleted_at.is_none()))
}

/// Lists the products of the seller that are not deleted, newest first, with ids below `before`.
pub(crate) async fn list(
    pool: &PgPool,
    seller_id: SellerId,
    status: Option<Status>,
    before: Option<ProductId>,
    limit: i64,
) -> Result<Vec<Product>, StoreError> {
    select!(
        r#"from inventory.products
           where uuid_send(seller_id) = uuid_send($1::uuid)
             and num_nulls(deleted_at) = 1
             and ($2::text is null or status = $2)
             and ($3::uuid is null or id < $3)
           order by id desc
           limit $4"#,
        seller_id as SellerId,
        status.map(Status::as_str),
        before as Option<ProductId>,
        limit,
    )
    .fetch_all(pool)
    .await
    .and_then(|rows| rows.into_iter().map(Product::try_from).collect())
    .map_err(doing("listing products of inventory.products"))
}

/// Finds the product of the seller that has this SKU and is not deleted. This is a statement of its
/// own so that it uses the index instead of reading all products of the seller.
pub(crate) async fn find_by_sku(
    pool: &PgPool,
    seller_id: SellerId,
    sku: &str,
) -> Result<Option<Product>, StoreError> {
    select!(
        r#"from inventory.products
           where seller_id = $1 and sku = $2 and deleted_at is null"#,
        seller_id as SellerId,
        sku,
    )
    .fetch_optional(pool)
    .await
    .and_then(decode)
    .map_err(doing("reading a product of inventory.products"))
}
