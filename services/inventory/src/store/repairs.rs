//! What reconciliation asks to be announced under a new version.

use chrono::{DateTime, Utc};
use shared::contract::inventory::Event;
use shared::contract::product::Product;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Cause, to_json};

/// Which aggregate of a product is meant.
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

/// A wish that was claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub product_id: Uuid,
    pub part: Part,
    /// What is announced must be above this: the version seen in the listing, or the last one that
    /// the journal knows.
    pub seen: i64,
}

/// Claims the oldest request that nobody else has claimed and that does not wait, for as long as the
/// transaction lasts.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Option<Request>, sqlx::Error> {
    let row = sqlx::query!(
        r#"with claimed as (
               select product_id, part, seen_version from inventory.repair_requests
               where not_before is null or not_before <= $1
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
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Request {
        product_id: row.product_id,
        part: if row.part == "stock" { Part::Stock } else { Part::Product },
        seen: row.seen_version.max(row.journal_version),
    }))
}

/// Announces that there is no such product: a journal entry and a pointer, but no row.
pub(crate) async fn announce_absence(
    connection: &mut PgConnection,
    product: &Product,
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    let event = to_json(&Event::ProductDeleted { product: product.clone() })?;
    sqlx::query!(
        "with journal as (
             insert into inventory.journal
                 (aggregate, aggregate_id, version, event_id, change, event, actor, request_id,
                  traceparent, requested_at, committed_at)
             values ('product', $1, $2, $3, 'repaired', $4::text::json, $5, $6, $7, $8, $9))
         insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         values ('product', $1, $2, $9)",
        product.id,
        product.version,
        cause.event_id,
        event,
        cause.actor,
        cause.request.id,
        cause.request.traceparent,
        cause.request.requested_at,
        product.updated_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets the others go first until `not_before`.
pub(crate) async fn put_off(
    connection: &mut PgConnection,
    request: &Request,
    not_before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update inventory.repair_requests set not_before = $3 where product_id = $1 and part = $2",
        request.product_id,
        request.part.as_str(),
        not_before,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a request that was done.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    request: &Request,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from inventory.repair_requests where product_id = $1 and part = $2",
        request.product_id,
        request.part.as_str(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
