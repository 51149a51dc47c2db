//! Products that are created: any number of them in one statement over arrays.

use chrono::{DateTime, Utc};
use shared::contract::events::Event;
use shared::contract::product::Product;
use shared::contract::stock::Stock;
use sqlx::PgPool;
use uuid::Uuid;

use super::WriteError;
use crate::store::idempotency::KeyedRequest;
use crate::store::{Cause, to_json};

/// A product that is to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub product: Product,
    pub stock: Stock,
    pub cause: Cause,
    pub key: Option<KeyedRequest>,
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
