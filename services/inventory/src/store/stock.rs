//! Stock. Statements find it by its id alone: see the note about plans in [`super::products`].

use shared::contract::stock::Stock;
use shared::id::{EventId, ProductId, RequestId, SellerId, UserId};
use sqlx::{PgConnection, PgPool};

use super::{Cause, StoreError, doing, to_json};
use crate::event::EventRef;
use crate::store::idempotency::KeyedRequest;

/// Finds the stock of a product of the seller that is not deleted.
pub(crate) async fn find(
    pool: &PgPool,
    seller_id: SellerId,
    product_id: ProductId,
) -> Result<Option<Stock>, StoreError> {
    sqlx::query_as!(
        Stock,
        "select s.on_hand, s.held, s.version, s.updated_at
         from inventory.stock s join inventory.products p on p.id = s.product_id
         where p.id = $1 and p.seller_id is not distinct from $2
           and num_nulls(p.deleted_at) = 1",
        product_id as ProductId,
        seller_id as SellerId,
    )
    .fetch_optional(pool)
    .await
    .map_err(doing("reading a stock of inventory.stock"))
}

/// As [`find`], and locks it until the transaction ends, for changes that must not lose a race.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    seller_id: SellerId,
    product_id: ProductId,
) -> Result<Option<Stock>, StoreError> {
    sqlx::query_as!(
        Stock,
        "select s.on_hand, s.held, s.version, s.updated_at
         from inventory.stock s join inventory.products p on p.id = s.product_id
         where p.id = $1 and p.seller_id is not distinct from $2
           and num_nulls(p.deleted_at) = 1
         for update of s",
        product_id as ProductId,
        seller_id as SellerId,
    )
    .fetch_optional(connection)
    .await
    .map_err(doing("locking a stock of inventory.stock"))
}

/// Finds the stock of a product of any seller, deleted or not, and locks it until the transaction
/// ends.
pub(crate) async fn lock_any(
    connection: &mut PgConnection,
    product_id: ProductId,
) -> Result<Option<Stock>, StoreError> {
    sqlx::query_as!(
        Stock,
        "select on_hand, held, version, updated_at from inventory.stock
         where product_id = $1
         for update",
        product_id as ProductId,
    )
    .fetch_optional(connection)
    .await
    .map_err(doing("locking a stock of inventory.stock"))
}

/// Writes a version of a stock with its journal entry, its outbox pointer and the idempotency key of
/// the request, unless a concurrent change came first or the key was used before.
///
/// Returns whether it was written: only if the stored version is the one before `stock`'s.
pub(crate) async fn update(
    connection: &mut PgConnection,
    product_id: ProductId,
    stock: &Stock,
    change: &str,
    cause: &Cause,
    key: Option<&KeyedRequest>,
) -> Result<bool, StoreError> {
    let before = stock.version - 1;
    replace(connection, product_id, before, stock, change, cause, key).await
}

/// As [`update`], but with any version before `stock`'s: a repair may skip versions.
pub(crate) async fn replace(
    connection: &mut PgConnection,
    product_id: ProductId,
    before: i64,
    stock: &Stock,
    change: &str,
    cause: &Cause,
    key: Option<&KeyedRequest>,
) -> Result<bool, StoreError> {
    let event = to_json(&EventRef::StockChanged { stock })?;
    let stored = sqlx::query!(
        "with keyed as (
             insert into inventory.idempotency
                 (subject, route, key, request_hash, aggregate_id, version, created_at)
             select $8, $14, $15, $16, $1, $2, $5
             where $15::text is not null
             on conflict do nothing
             returning version),
         stock as (
             update inventory.stock
             set on_hand = $3, held = $4, version = $2, updated_at = $5
             where product_id = $1 and version = $17
               and ($15::text is null or exists (select from keyed))
             returning product_id),
         journal as (
             insert into inventory.journal
                 (aggregate, aggregate_id, version, event_id, change, event, actor, reason,
                  request_id, traceparent, requested_at, committed_at)
             select 'stock', product_id, $2, $6, $7, $9::text::json, $8, $10, $11, $12, $13, $5
             from stock)
         insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         select 'stock', product_id, $2, $5 from stock",
        product_id as ProductId,
        stock.version,
        stock.on_hand,
        stock.held,
        stock.updated_at,
        cause.event_id as EventId,
        change,
        cause.actor as UserId,
        event,
        cause.reason,
        cause.request.id as RequestId,
        cause.request.traceparent,
        cause.request.requested_at,
        key.map(|key| key.route),
        key.map(|key| key.key.as_str()),
        key.map(|key| key.hash.as_slice()),
        before,
    )
    .execute(connection)
    .await
    .map_err(doing("writing a version of a stock to inventory.stock"))?;
    Ok(stored.rows_affected() == 1)
}
