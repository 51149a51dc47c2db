//! Requests of reconciliation to announce a product or a stock at a new version.

use chrono::{DateTime, Utc};
use shared::id::{EventId, ProductId, RequestId, UserId};
use sqlx::PgConnection;

use super::{Cause, StoreError, doing, to_json};
use crate::event::EventRef;
use crate::product::Product;

/// The aggregate that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Product,
    Stock,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Stock => "stock",
        }
    }
}

/// A claimed request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub product_id: ProductId,
    pub part: Part,
    /// The announced version must be above this one: the version in the listing, or the last one in
    /// the journal.
    pub seen: i64,
}

/// Claims the oldest request that is due and not claimed yet, until the transaction ends. No request is
/// postponed until later than `latest`, unless the clock was set back; then it is due.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    latest: DateTime<Utc>,
) -> Result<Option<Request>, StoreError> {
    let row = sqlx::query!(
        r#"with claimed as (
               select product_id, part, seen_version from inventory.repair_requests
               where not_before is null or not_before <= $1 or not_before > $2
               order by coalesce(not_before, requested_at), product_id
               limit 1
               for update skip locked)
           select c.product_id, c.part, c.seen_version,
                  coalesce((
                      select max(j.version) from inventory.journal j
                      where j.aggregate_id = c.product_id and j.aggregate = c.part), 0)
                      as "journal_version!"
           from claimed c"#,
        now,
        latest,
    )
    .fetch_optional(connection)
    .await
    .map_err(doing("claiming a request of inventory.repair_requests"))?;
    Ok(row.map(|row| Request {
        product_id: row.product_id,
        part: if row.part == "stock" { Part::Stock } else { Part::Product },
        seen: row.seen_version.max(row.journal_version),
    }))
}

/// Announces that a product does not exist: writes a journal entry and a pointer, but no row.
pub(crate) async fn announce_absence(
    connection: &mut PgConnection,
    product: &Product,
    event: &EventRef<'_>,
    cause: &Cause,
) -> Result<(), StoreError> {
    let event = to_json(event)?;
    sqlx::query!(
        "with journal as (
             insert into inventory.journal
                 (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
                  traceparent, requested_at, committed_at)
             values ('product', $1, $2, $3, 'repaired', $4::text::json, $5, $6, $7, $8, $9))
         insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         values ('product', $1, $2, $9)",
        product.id as ProductId,
        product.version,
        cause.event_id as EventId,
        event,
        cause.actor as UserId,
        cause.request.id as RequestId,
        cause.request.traceparent,
        cause.request.requested_at,
        product.updated_at,
    )
    .execute(connection)
    .await
    .map_err(doing("writing a tombstone to inventory.journal"))?;
    Ok(())
}

/// Postpones a request until `not_before`, so that it does not block the others.
pub(crate) async fn postpone(
    connection: &mut PgConnection,
    request: &Request,
    not_before: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inventory.repair_requests set not_before = $3 where product_id = $1 and part = $2",
        request.product_id as ProductId,
        request.part.as_str(),
        not_before,
    )
    .execute(connection)
    .await
    .map_err(doing("postponing a request of inventory.repair_requests"))?;
    Ok(())
}

/// Deletes a completed request.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    request: &Request,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from inventory.repair_requests where product_id = $1 and part = $2",
        request.product_id as ProductId,
        request.part.as_str(),
    )
    .execute(connection)
    .await
    .map_err(doing("deleting a request of inventory.repair_requests"))?;
    Ok(())
}
