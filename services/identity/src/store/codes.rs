//! Mailed codes.

use chrono::{DateTime, Utc};
use shared::id::UserId;
use sqlx::PgExecutor;

use crate::account::Email;
use crate::codes::{Purpose, StoredCode};
use shared::database::{StoreError, doing};

/// Stores a reset code, replacing an earlier one, if the address belongs to an active user. Returns
/// whether it does.
pub(crate) async fn put_reset(
    executor: impl PgExecutor<'_>,
    email: &Email,
    hash: &[u8; 32],
    expires_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // Every statement locks the user before the code, so that no two requests deadlock.
    let put = sqlx::query!(
        "with holder as (
             select id from identity.users
             where email = $1 and activated_at is not null
             for no key update)
         insert into identity.codes (user_id, purpose, hash, expires_at)
         select id, 'reset', $2, $3 from holder
         on conflict on constraint codes_pkey do update
         set hash = excluded.hash, attempts = 0, expires_at = excluded.expires_at",
        email.as_str(),
        hash.as_slice(),
        expires_at,
    )
    .execute(executor)
    .await
    .map_err(doing("putting a reset code into identity.codes"))?;
    Ok(put.rows_affected() == 1)
}

/// Counts an attempt at the code of an address, and returns the code. The code stays locked until the
/// transaction ends, so that attempts are judged one after the other.
pub(crate) async fn count_try(
    executor: impl PgExecutor<'_>,
    purpose: Purpose,
    email: &Email,
) -> Result<Option<StoredCode>, StoreError> {
    sqlx::query_as!(
        StoredCode,
        "with holder as (
             select id from identity.users where email = $1 for no key update)
         update identity.codes c set attempts = least(c.attempts, 1000) + 1
         from holder
         where c.user_id = holder.id and c.purpose = $2
         returning c.user_id, c.hash, c.attempts, c.expires_at",
        email.as_str(),
        purpose.as_str(),
    )
    .fetch_optional(executor)
    .await
    .map_err(doing("counting an attempt in identity.codes"))
}

/// Deletes a code after its use.
pub(crate) async fn delete(
    executor: impl PgExecutor<'_>,
    user_id: UserId,
    purpose: Purpose,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from identity.codes where user_id = $1 and purpose = $2",
        user_id as UserId,
        purpose.as_str(),
    )
    .execute(executor)
    .await
    .map_err(doing("deleting from identity.codes"))?;
    Ok(())
}
