//! Sessions and their refresh tokens.

use chrono::{DateTime, Utc};
use shared::id::{SessionId, UserId};
use sqlx::{PgExecutor, PgPool};

use super::users::{self, User};
use crate::sessions::{NewToken, StoredToken};
use shared::database::{StoreError, doing};

/// Starts a session with its first refresh token, unless the password has changed since it was
/// verified. Returns whether the session was started.
///
/// The lock on the user serialises this with a change of the password, which ends all sessions. Either
/// the change sees this session and ends it, or this session does not start.
pub(crate) async fn begin(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    user_id: UserId,
    password_hash: &str,
    token: &NewToken,
) -> Result<bool, StoreError> {
    let begun = sqlx::query!(
        "with holder as (
             select id from identity.users where id = $2 and password_hash = $3 for share),
         session as (
             insert into identity.sessions (id, user_id, started_at)
             select $1, id, $5 from holder
             returning id)
         insert into identity.refresh_tokens (hash, session_id, issued_at, expires_at)
         select $4, id, $5, $6 from session",
        id as SessionId,
        user_id as UserId,
        password_hash,
        token.hash.as_slice(),
        token.issued_at,
        token.expires_at,
    )
    .execute(executor)
    .await
    .map_err(doing("inserting into identity.sessions"))?;
    Ok(begun.rows_affected() == 1)
}

/// Exchanges a valid refresh token for the next one. Of two concurrent requests with one token, only
/// one succeeds.
pub(crate) async fn rotate(
    pool: &PgPool,
    hash: &[u8; 32],
    next: &NewToken,
) -> Result<Option<User>, StoreError> {
    let failed = doing("rotating a row of identity.refresh_tokens");
    let row = sqlx::query!(
        "with rotated as (
             update identity.refresh_tokens t set rotated_at = $3
             from identity.sessions s
             where t.hash = $1 and t.rotated_at is null and t.expires_at > $3
               and s.id = t.session_id and s.revoked_at is null
             returning s.id, s.user_id),
         next as (
             insert into identity.refresh_tokens (hash, session_id, issued_at, expires_at)
             select $2, id, $3, $4 from rotated)
         select u.id, u.roles from rotated join identity.users u on u.id = rotated.user_id",
        hash.as_slice(),
        next.hash.as_slice(),
        next.issued_at,
        next.expires_at,
    )
    .fetch_optional(pool)
    .await
    .map_err(&failed)?;
    row.map(|row| users::user(row.id, &row.roles)).transpose().map_err(failed)
}

pub(crate) async fn find_token(
    pool: &PgPool,
    hash: &[u8; 32],
) -> Result<Option<StoredToken>, StoreError> {
    sqlx::query_as!(
        StoredToken,
        "select t.session_id, t.rotated_at, s.revoked_at
         from identity.refresh_tokens t join identity.sessions s on s.id = t.session_id
         where t.hash = $1",
        hash.as_slice(),
    )
    .fetch_optional(pool)
    .await
    .map_err(doing("reading from identity.refresh_tokens"))
}

/// Ends a session: its refresh tokens are no longer valid.
pub(crate) async fn revoke(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update identity.sessions set revoked_at = $2 where id = $1 and revoked_at is null",
        id as SessionId,
        now,
    )
    .execute(executor)
    .await
    .map_err(doing("revoking a row of identity.sessions"))?;
    Ok(())
}

/// Ends every session of a user.
pub(crate) async fn revoke_all(
    executor: impl PgExecutor<'_>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update identity.sessions set revoked_at = $2 where user_id = $1 and revoked_at is null",
        user_id as UserId,
        now,
    )
    .execute(executor)
    .await
    .map_err(doing("revoking the sessions of a user in identity.sessions"))?;
    Ok(())
}
