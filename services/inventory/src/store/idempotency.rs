//! Idempotency keys: written in the statement of their effect and kept for a day, without bodies or
//! tokens.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use shared::id::{ProductId, UserId};
use sqlx::{PgExecutor, PgPool};

use super::{StoreError, doing};

/// How long a key is remembered.
pub(crate) const KEPT: chrono::TimeDelta = chrono::TimeDelta::hours(24);

/// A request with an idempotency key, so that it takes effect once however often it is sent.
#[derive(Clone, Debug)]
pub(crate) struct KeyedRequest {
    pub route: &'static str,
    pub key: String,
    /// SHA-256 of the body.
    pub hash: [u8; 32],
}

impl KeyedRequest {
    pub(crate) fn new(route: &'static str, key: String, body: &[u8]) -> Self {
        Self { route, key, hash: Sha256::digest(body).into() }
    }
}

/// The request that a key was used for, and its effect.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub request_hash: Vec<u8>,
    pub aggregate_id: ProductId,
    pub version: i64,
}

pub(crate) async fn find(
    executor: impl PgExecutor<'_>,
    subject: UserId,
    request: &KeyedRequest,
) -> Result<Option<Used>, StoreError> {
    sqlx::query_as!(
        Used,
        "select request_hash, aggregate_id, version from inventory.idempotency
         where subject = $1 and route = $2 and key = $3",
        subject as UserId,
        request.route,
        request.key,
    )
    .fetch_optional(executor)
    .await
    .map_err(doing("reading inventory.idempotency"))
}

/// Deletes up to 1000 expired keys and returns how many.
pub(crate) async fn delete_expired(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        "delete from inventory.idempotency where ctid = any(array(
             select ctid from inventory.idempotency where created_at < $1 limit 1000))",
        now - KEPT,
    )
    .execute(pool)
    .await?;
    Ok(deleted.rows_affected())
}
