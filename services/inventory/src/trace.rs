//! The part of a trace that the write side knows: changes as the journal has them.

use chrono::DateTime;
use sqlx::PgPool;
use uuid::Uuid;

pub use crate::store::journal::Change;

use crate::store::journal;

/// Finds the latest changes of the product, the request or the event `id`, oldest first.
pub async fn find(pool: &PgPool, id: Uuid, limit: i64) -> Result<Vec<Change>, sqlx::Error> {
    let mut changes = journal::trace_product(pool, id, limit).await?;
    if changes.is_empty()
        && let Some(made_at) = id.get_timestamp()
    {
        let (seconds, nanos) = made_at.to_unix();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        if let Some(at) = DateTime::from_timestamp(seconds, nanos) {
            changes = journal::trace_request_or_event(pool, id, at, limit).await?;
        }
    }
    changes.reverse();
    Ok(changes)
}
