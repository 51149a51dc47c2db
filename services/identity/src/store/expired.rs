//! Deletes expired rows in batches. Expired rows are refused anyway, so that a delay does no harm.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::attempts::WINDOW;
use crate::sessions::LIFETIME;
use shared::database::{StoreError, doing};

/// Rows of a table that one statement deletes.
pub(crate) const BATCH: u64 = 1000;

/// How long a claim on an address is kept without activation.
const CLAIM_KEPT: TimeDelta = TimeDelta::days(7);

pub(crate) async fn delete_attempts(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from identity.attempts where ctid = any(array(
             select ctid from identity.attempts where since < $1 limit 1000
             for update skip locked))",
        now - WINDOW,
    )
    .execute(pool)
    .await
    .map_err(doing("deleting expired rows of identity.attempts"))?;
    Ok(deleted.rows_affected())
}

pub(crate) async fn delete_codes(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from identity.codes where ctid = any(array(
             select ctid from identity.codes where expires_at < $1 limit 1000
             for update skip locked))",
        now,
    )
    .execute(pool)
    .await
    .map_err(doing("deleting expired rows of identity.codes"))?;
    Ok(deleted.rows_affected())
}

pub(crate) async fn delete_refresh_tokens(
    pool: &PgPool,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from identity.refresh_tokens where ctid = any(array(
             select ctid from identity.refresh_tokens where expires_at < $1 limit 1000
             for update skip locked))",
        now,
    )
    .execute(pool)
    .await
    .map_err(doing("deleting expired rows of identity.refresh_tokens"))?;
    Ok(deleted.rows_affected())
}

/// Deletes sessions without a refresh token: nothing can continue them.
pub(crate) async fn delete_sessions(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from identity.sessions where ctid = any(array(
             select ctid from identity.sessions s
             where s.started_at < $1 and not exists (
                 select from identity.refresh_tokens t where t.session_id = s.id)
             limit 1000
             for update skip locked))",
        now - LIFETIME,
    )
    .execute(pool)
    .await
    .map_err(doing("deleting expired rows of identity.sessions"))?;
    Ok(deleted.rows_affected())
}

/// Deletes claimed addresses without a code: nothing can activate them.
pub(crate) async fn delete_claims(pool: &PgPool, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let deleted = sqlx::query!(
        "delete from identity.users where ctid = any(array(
             select ctid from identity.users u
             where u.activated_at is null and u.created_at < $1 and not exists (
                 select from identity.codes c where c.user_id = u.id)
             limit 1000
             for update skip locked))",
        now - CLAIM_KEPT,
    )
    .execute(pool)
    .await
    .map_err(doing("expiring claims in identity.users"))?;
    Ok(deleted.rows_affected())
}
