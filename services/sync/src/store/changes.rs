//! The contract of inventory: the recorded changes of a product, of a request or of an event.

use chrono::{DateTime, TimeDelta, Utc};
use shared::id::{EventId, ProductId, RequestId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::error::StoreError;
use crate::trace::RecordedChange;

/// Ids keep the millisecond in which they were created.
const PRECISION: TimeDelta = TimeDelta::milliseconds(2);

/// The latest changes of the product, the request or the event `id`, oldest first.
pub(crate) async fn find(
    pool: &PgPool,
    id: Uuid,
    limit: i64,
) -> Result<Vec<RecordedChange>, StoreError> {
    let mut changes = find_by_product(pool, ProductId::from_uuid(id), limit).await?;
    if changes.is_empty()
        && let Some(made_at) = time_of(id)
    {
        changes = find_by_request_or_event(pool, id, made_at, limit).await?;
    }
    changes.reverse();
    Ok(changes)
}

/// When an id was created, if it contains the time.
fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

async fn find_by_product(
    pool: &PgPool,
    product: ProductId,
    limit: i64,
) -> Result<Vec<RecordedChange>, StoreError> {
    sqlx::query_as!(
        RecordedChange,
        r#"select event_id as "event_id!: EventId", product_id as "product_id!: ProductId",
                  aggregate as "aggregate!", version as "version!", change as "change!",
                  request_id as "request_id!: RequestId", traceparent as "traceparent!",
                  requested_at as "requested_at!", committed_at as "committed_at!",
                  pending as "pending!"
           from inventory.trace_product($1, $2)"#,
        product as ProductId,
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres(format!("calling inventory.trace_product for {product}")))
}

async fn find_by_request_or_event(
    pool: &PgPool,
    id: Uuid,
    made_at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<RecordedChange>, StoreError> {
    sqlx::query_as!(
        RecordedChange,
        r#"select event_id as "event_id!: EventId", product_id as "product_id!: ProductId",
                  aggregate as "aggregate!", version as "version!", change as "change!",
                  request_id as "request_id!: RequestId", traceparent as "traceparent!",
                  requested_at as "requested_at!", committed_at as "committed_at!",
                  pending as "pending!"
           from inventory.trace_request_or_event($1, $2, $3, $4)"#,
        id,
        made_at - PRECISION,
        made_at + PRECISION,
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres(format!("calling inventory.trace_request_or_event for {id}")))
}
