//! Inserts any number of new products with one statement over arrays.

use chrono::{DateTime, Utc};
use shared::contract::stock::Stock;
use shared::id::{EventId, ProductId, RequestId, SellerId};
use sqlx::PgPool;

use crate::product::Product;
use crate::store::idempotency::KeyedRequest;
use crate::store::{Cause, WriteError, doing};

/// A product to create.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub product: Product,
    pub stock: Stock,
    /// The event that announces both, as the journal keeps it.
    pub event: String,
    pub cause: Cause,
    pub key: Option<KeyedRequest>,
}

/// Creates products and returns whether each was created. It is one statement: a failure stores
/// nothing.
///
/// `false` means that the row's idempotency key was used before or that its SKU is taken; nothing of
/// that row was stored. Keys and SKUs are inserted in sorted order, because overlapping batches
/// would deadlock otherwise. Scalar subqueries look up whether they are taken: PostgreSQL plans them
/// as one index probe for each row. `not exists` became an anti join whose generic plan, made while
/// the table was small, read the whole table from then on. (`on conflict do nothing` costs the same
/// probe plus a lock and a log record.)
///
/// # Errors
/// [`WriteError::SkuTaken`] or [`WriteError::KeyUsed`] if a concurrent statement took a SKU or a
/// key, or if two of the rows have one in common. Nothing was stored then.
pub(crate) async fn insert(pool: &PgPool, rows: &[NewRow]) -> Result<Vec<bool>, WriteError> {
    let mut columns = Columns::default();
    for row in rows {
        columns.push(row).map_err(doing("encoding a product for inventory.products"))?;
    }
    let created: Vec<ProductId> = sqlx::query_scalar!(
        r#"with accepted as (
               select * from unnest(
                   $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
                   $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[],
                   $12::timestamptz[], $13::bigint[], $14::uuid[], $15::text[], $16::uuid[],
                   $17::text[], $18::timestamptz[], $19::text[], $20::text[], $21::bytea[]) as row (
                   id, seller_id, sku, name, description, category,
                   attributes, amount, currency, status, content_hash,
                   at, on_hand, event_id, event, request_id,
                   traceparent, requested_at, route, key, request_hash)
               where (
                   select p.id from inventory.products p
                   where p.seller_id = row.seller_id and p.sku = row.sku and p.deleted_at is null
               ) is null and (
                   select i.aggregate_id from inventory.idempotency i
                   where i.subject = row.seller_id and i.route = row.route and i.key = row.key
               ) is null),
           keyed as (
               insert into inventory.idempotency
                   (subject, route, key, request_hash, aggregate_id, version, created_at)
               select seller_id, route, key, request_hash, id, 1, at
               from accepted where key is not null
               order by seller_id, route, key),
           product as (
               insert into inventory.products
                   (id, seller_id, sku, name, description, category, attributes, amount, currency,
                    status, version, content_hash, created_at, updated_at)
               select id, seller_id, sku, name, description, category, attributes::jsonb, amount,
                      currency, status, 1, content_hash, at, at
               from accepted order by seller_id, sku),
           stock as (
               insert into inventory.stock (product_id, on_hand, version, updated_at)
               select id, on_hand, 1, at from accepted),
           journal as (
               insert into inventory.journal
                   (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
                    traceparent, requested_at, committed_at)
               select 'product', id, 1, event_id, 'created', event::json, seller_id, request_id,
                      traceparent, requested_at, at
               from accepted),
           pointer as (
               insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
               select 'product', id, 1, at from accepted)
           select id as "id!: ProductId" from accepted"#,
        &columns.ids as &[ProductId],
        &columns.seller_ids as &[SellerId],
        &columns.skus as &[&str],
        &columns.names as &[&str],
        &columns.descriptions as &[Option<&str>],
        &columns.categories as &[&str],
        &columns.attributes,
        &columns.amounts,
        &columns.currencies as &[&str],
        &columns.statuses as &[&str],
        &columns.hashes as &[&str],
        &columns.times,
        &columns.on_hand,
        &columns.event_ids as &[EventId],
        &columns.events as &[&str],
        &columns.request_ids as &[RequestId],
        &columns.traceparents as &[&str],
        &columns.requested,
        &columns.routes as &[Option<&str>],
        &columns.keys as &[Option<&str>],
        &columns.request_hashes as &[Option<&[u8]>],
    )
    .fetch_all(pool)
    .await
    .map_err(doing("inserting into inventory.products"))?;
    Ok(rows.iter().map(|row| created.contains(&row.product.id)).collect())
}

/// The parameters of [`insert`]: one array for each column.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<ProductId>,
    seller_ids: Vec<SellerId>,
    skus: Vec<&'a str>,
    names: Vec<&'a str>,
    descriptions: Vec<Option<&'a str>>,
    categories: Vec<&'a str>,
    attributes: Vec<String>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
    statuses: Vec<&'a str>,
    hashes: Vec<&'a str>,
    times: Vec<DateTime<Utc>>,
    on_hand: Vec<i64>,
    event_ids: Vec<EventId>,
    events: Vec<&'a str>,
    request_ids: Vec<RequestId>,
    traceparents: Vec<&'a str>,
    requested: Vec<DateTime<Utc>>,
    routes: Vec<Option<&'a str>>,
    keys: Vec<Option<&'a str>>,
    request_hashes: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, row: &'a NewRow) -> Result<(), sqlx::Error> {
        let NewRow { product, stock, event, cause, key } = row;
        let attributes = serde_json::to_string(&product.attributes)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.ids.push(product.id);
        self.seller_ids.push(product.seller_id);
        self.skus.push(&product.sku);
        self.names.push(&product.name);
        self.descriptions.push(product.description.as_deref());
        self.categories.push(&product.category);
        self.attributes.push(attributes);
        self.amounts.push(product.price.amount);
        self.currencies.push(product.price.currency.code());
        self.statuses.push(product.status.as_str());
        self.hashes.push(&product.content_hash.0);
        self.times.push(product.created_at);
        self.on_hand.push(stock.on_hand);
        self.event_ids.push(cause.event_id);
        self.events.push(event);
        self.request_ids.push(cause.request.id);
        self.traceparents.push(&cause.request.traceparent);
        self.requested.push(cause.request.requested_at);
        self.routes.push(key.as_ref().map(|key| key.route));
        self.keys.push(key.as_ref().map(|key| key.key.as_str()));
        self.request_hashes.push(key.as_ref().map(|key| key.hash.as_slice()));
        Ok(())
    }
}
