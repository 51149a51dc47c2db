//! Products. A row, its journal entry and its outbox pointer are written by one statement: they
//! are all there or none of them is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared::contract::events::Event;
use shared::contract::product::{Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::database::violated_constraint;
use shared::money::Money;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::{Cause, to_json};
use crate::store::idempotency::KeyedRequest;

/// A product that is to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub product: Product,
    pub stock: Stock,
    pub cause: Cause,
    pub key: Option<KeyedRequest>,
}

/// Another of the seller's products has the sku, or took it at the same moment; or the database
/// failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the sku is taken")]
    SkuTaken,
    /// Shared where several rows were written together.
    #[error("writing a product")]
    Database(#[source] Arc<sqlx::Error>),
    #[error("too many products wait to be written")]
    Busy,
    /// Whether they were written is not known.
    #[error("PostgreSQL did not say in time what became of a product")]
    Silent,
    #[error("the writer ended before it said what became of a product")]
    Lost,
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        if violated_constraint(&error) == Some("products_sku") {
            Self::SkuTaken
        } else {
            Self::Database(Arc::new(error))
        }
    }
}

/// Creates products and says of each whether it was. One statement, all or nothing on failure.
///
/// `false` means that the row's idempotency key was used before, or that its sku is taken; nothing
/// of that row was stored. Rows are inserted in the order of their unique keys: overlapping batches
/// would deadlock otherwise. Taken skus are looked for by a scalar subquery, which is planned as one
/// probe of the index for each row: `not exists` became an anti join whose generic plan, made while
/// the table was small, reads all of it ever after.
///
/// # Errors
/// [`WriteError::SkuTaken`] when somebody took one of the skus at the same moment: nothing was
/// stored.
pub(crate) async fn insert(pool: &PgPool, rows: &[NewRow]) -> Result<Vec<bool>, WriteError> {
    let mut columns = Columns::default();
    for row in rows {
        columns.push(row)?;
    }
    let created: Vec<Uuid> = sqlx::query_scalar!(
        r#"with input as (
               select * from unnest(
                   $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                   $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[],
                   $12::timestamptz[], $13::bigint[], $14::uuid[], $15::text[], $16::uuid[],
                   $17::text[], $18::timestamptz[], $19::text[], $20::text[], $21::bytea[])
                   with ordinality as row (
                   id, seller_id, sku, name, description, category,
                   attributes, amount, currency, status, content_hash,
                   at, on_hand, event_id, event, request_id,
                   traceparent, requested_at, route, key, request_hash, nth)),
           fresh as (
               select distinct on (seller_id, sku) * from input i
               where (
                   select p.id from inventory.products p
                   where p.seller_id = i.seller_id and p.sku = i.sku and p.deleted_at is null
               ) is null
               order by seller_id, sku, nth),
           keyed as (
               insert into inventory.idempotency
                   (subject, route, key, request_hash, aggregate_id, version, created_at)
               select seller_id, route, key, request_hash, id, 1, at
               from fresh where key is not null
               order by seller_id, route, key
               on conflict do nothing
               returning aggregate_id),
           accepted as (
               select * from fresh f
               where f.key is null or exists (select from keyed k where k.aggregate_id = f.id)),
           product as (
               insert into inventory.products
                   (id, seller_id, sku, name, description, category, attributes, amount, currency,
                    status, version, content_hash, created_at, updated_at)
               select id, seller_id, sku, name, description, category, attributes::jsonb, amount,
                      currency, status, 1, content_hash, at, at
               from accepted order by seller_id, sku),
           stock as (
               insert into inventory.stock (product_id, on_hand, version, updated_at)
               select id, on_hand, 1, at from accepted order by id),
           journal as (
               insert into inventory.journal
                   (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
                    traceparent, requested_at, committed_at)
               select 'product', id, 1, event_id, 'created', event::json, seller_id, request_id,
                      traceparent, requested_at, at
               from accepted order by id),
           pointer as (
               insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
               select 'product', id, 1, at from accepted order by nth)
           select id as "id!" from accepted"#,
        &columns.ids,
        &columns.seller_ids,
        &columns.skus,
        &columns.names,
        &columns.descriptions as &[Option<String>],
        &columns.categories,
        &columns.attributes,
        &columns.amounts,
        &columns.currencies,
        &columns.statuses,
        &columns.hashes,
        &columns.times,
        &columns.on_hand,
        &columns.event_ids,
        &columns.events,
        &columns.request_ids,
        &columns.traceparents,
        &columns.requested,
        &columns.routes as &[Option<String>],
        &columns.keys as &[Option<String>],
        &columns.request_hashes as &[Option<Vec<u8>>],
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.iter().map(|row| created.contains(&row.product.id)).collect())
}

/// The parameters of [`insert`]: an array a column.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    seller_ids: Vec<Uuid>,
    skus: Vec<String>,
    names: Vec<String>,
    descriptions: Vec<Option<String>>,
    categories: Vec<String>,
    attributes: Vec<String>,
    amounts: Vec<i64>,
    currencies: Vec<String>,
    statuses: Vec<String>,
    hashes: Vec<String>,
    times: Vec<DateTime<Utc>>,
    on_hand: Vec<i64>,
    event_ids: Vec<Uuid>,
    events: Vec<String>,
    request_ids: Vec<Uuid>,
    traceparents: Vec<String>,
    requested: Vec<DateTime<Utc>>,
    routes: Vec<Option<String>>,
    keys: Vec<Option<String>>,
    request_hashes: Vec<Option<Vec<u8>>>,
}

impl Columns {
    fn push(&mut self, row: &NewRow) -> Result<(), sqlx::Error> {
        let NewRow { product, stock, cause, key } = row;
        let event = Event::ProductCreated { product: product.clone(), stock: stock.clone() };
        let attributes = serde_json::to_string(&product.attributes)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.ids.push(product.id);
        self.seller_ids.push(product.seller_id);
        self.skus.push(product.sku.clone());
        self.names.push(product.name.clone());
        self.descriptions.push(product.description.clone());
        self.categories.push(product.category.clone());
        self.attributes.push(attributes);
        self.amounts.push(product.price.amount);
        self.currencies.push(product.price.currency.code().to_owned());
        self.statuses.push(product.status.as_str().to_owned());
        self.hashes.push(product.content_hash.0.clone());
        self.times.push(product.created_at);
        self.on_hand.push(stock.on_hand);
        self.event_ids.push(cause.event_id);
        self.events.push(to_json(&event)?);
        self.request_ids.push(cause.request.id);
        self.traceparents.push(cause.request.traceparent.clone());
        self.requested.push(cause.request.requested_at);
        self.routes.push(key.as_ref().map(|key| key.route.to_owned()));
        self.keys.push(key.as_ref().map(|key| key.key.clone()));
        self.request_hashes.push(key.as_ref().map(|key| key.hash.to_vec()));
        Ok(())
    }
}

/// Stores what a product has become, unless somebody else was faster.
///
/// Returns whether it was stored: only if the version is still the one before `product`'s. With
/// `with_stock` the stock is announced again, too: behind an old tombstone the listing has
/// forgotten it.
///
/// # Errors
/// [`WriteError::SkuTaken`] when another living product of the seller has the sku.
pub(crate) async fn update(
    pool: &PgPool,
    product: &Product,
    change: &str,
    cause: &Cause,
    with_stock: bool,
) -> Result<bool, WriteError> {
    replace(pool, product.version - 1, product, change, cause, with_stock).await
}

/// The same, with any version before `product`'s: a repair may leave some out.
pub(crate) async fn replace(
    executor: impl PgExecutor<'_>,
    before: i64,
    product: &Product,
    change: &str,
    cause: &Cause,
    with_stock: bool,
) -> Result<bool, WriteError> {
    let event = to_json(&crate::product::announce(product.clone()))?;
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
        product.id,
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
        cause.event_id,
        change,
        event,
        cause.actor,
        cause.request.id,
        cause.request.traceparent,
        cause.request.requested_at,
        before,
        with_stock,
    )
    .execute(executor)
    .await?;
    Ok(stored.rows_affected() > 0)
}

/// A row as PostgreSQL has it.
struct Row {
    id: Uuid,
    seller_id: Uuid,
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
        let currency =
            row.currency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let status =
            row.status.parse::<Status>().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
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

/// A seller's own product, deleted or not.
pub(crate) async fn find_even_deleted(
    pool: &PgPool,
    seller_id: Uuid,
    id: Uuid,
) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, seller_id, sku, name, description, category,
                  attributes as "attributes: Json<Attributes>", amount, currency, status, version,
                  content_hash, created_at, updated_at, deleted_at
           from inventory.products where id = $1 and seller_id = $2"#,
        id,
        seller_id,
    )
    .fetch_optional(pool)
    .await?
    .map(Product::try_from)
    .transpose()
}

/// A product, whoever's and deleted or not, locked until the transaction ends: for repairs.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, seller_id, sku, name, description, category,
                  attributes as "attributes: Json<Attributes>", amount, currency, status, version,
                  content_hash, created_at, updated_at, deleted_at
           from inventory.products where id = $1
           for update"#,
        id,
    )
    .fetch_optional(connection)
    .await?
    .map(Product::try_from)
    .transpose()
}

/// A seller's own product that is not deleted.
pub(crate) async fn find(
    pool: &PgPool,
    seller_id: Uuid,
    id: Uuid,
) -> Result<Option<Product>, sqlx::Error> {
    let product = find_even_deleted(pool, seller_id, id).await?;
    Ok(product.filter(|product| product.deleted_at.is_none()))
}

/// A seller's own products that are not deleted, newest first, from below the id `before`.
pub(crate) async fn list(
    pool: &PgPool,
    seller_id: Uuid,
    status: Option<Status>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Product>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, seller_id, sku, name, description, category,
                  attributes as "attributes: Json<Attributes>", amount, currency, status, version,
                  content_hash, created_at, updated_at, deleted_at
           from inventory.products
           where seller_id = $1 and deleted_at is null
             and ($2::text is null or status = $2)
             and ($3::uuid is null or id < $3)
           order by id desc
           limit $4"#,
        seller_id,
        status.map(Status::as_str),
        before,
        limit,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(Product::try_from)
    .collect()
}

/// A seller's own product with this sku that is not deleted. A statement of its own, so that it is
/// found through the index and not by reading everything that the seller has.
pub(crate) async fn find_by_sku(
    pool: &PgPool,
    seller_id: Uuid,
    sku: &str,
) -> Result<Option<Product>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, seller_id, sku, name, description, category,
                  attributes as "attributes: Json<Attributes>", amount, currency, status, version,
                  content_hash, created_at, updated_at, deleted_at
           from inventory.products
           where seller_id = $1 and sku = $2 and deleted_at is null"#,
        seller_id,
        sku,
    )
    .fetch_optional(pool)
    .await?
    .map(Product::try_from)
    .transpose()
}
