//! Attempts per email address.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::account::Email;
use crate::attempts::{AHEAD, Action, WINDOW, Window};
use shared::database::{StoreError, doing};

pub(crate) async fn find(
    executor: impl PgExecutor<'_>,
    action: Action,
    email: &Email,
) -> Result<Option<Window>, StoreError> {
    sqlx::query_as!(
        Window,
        "select made, since from identity.attempts where action = $1 and email = $2",
        action.as_str(),
        email.as_str(),
    )
    .fetch_optional(executor)
    .await
    .map_err(doing("reading from identity.attempts"))
}

/// Counts an attempt, in a new window if the last one is over, and returns the window.
pub(crate) async fn count(
    executor: impl PgExecutor<'_>,
    action: Action,
    email: &Email,
    now: DateTime<Utc>,
) -> Result<Window, StoreError> {
    // Capped at a thousand, so that it cannot overflow.
    sqlx::query_as!(
        Window,
        "insert into identity.attempts as a (action, email, made, since) values ($1, $2, 1, $3)
         on conflict on constraint attempts_pkey do update
         set made = case when a.since <= $4 or a.since > $5 then 1 else least(a.made, 1000) + 1 end,
             since = case when a.since <= $4 or a.since > $5 then $3 else a.since end
         returning made, since",
        action.as_str(),
        email.as_str(),
        now,
        now - WINDOW,
        now + AHEAD,
    )
    .fetch_one(executor)
    .await
    .map_err(doing("counting an attempt in identity.attempts"))
}

/// Deletes the window, after an attempt succeeded.
pub(crate) async fn clear(
    executor: impl PgExecutor<'_>,
    action: Action,
    email: &Email,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from identity.attempts where action = $1 and email = $2",
        action.as_str(),
        email.as_str(),
    )
    .execute(executor)
    .await
    .map_err(doing("clearing identity.attempts"))?;
    Ok(())
}
