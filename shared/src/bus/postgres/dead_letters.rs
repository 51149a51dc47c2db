//! Dead letters in the tables of the local edition.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::bus::selection::{Action, DeadLetter, Selection};
use crate::id::UserId;

/// The dead letters of a selection after `after`, oldest first.
pub async fn list(
    pool: &PgPool,
    selection: &Selection,
    after: i64,
    limit: i64,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    sqlx::query_as!(
        DeadLetter,
        "select id, queue, event_id, event_type, subject, reason, attempts, sent_at, dead_at
         from bus.dead_letters
         where ($1::bigint[] is null or id = any($1))
           and ($2::text is null or event_type = $2)
           and ($3::text is null or strpos(reason, $3) > 0)
           and ($4::timestamptz is null or dead_at < $4)
           and ($5::uuid is null or subject = $5)
           and ($6::text is null or queue = $6)
           and id > $7
         order by id
         limit $8",
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
        selection.queue,
        after,
        limit,
    )
    .fetch_all(pool)
    .await
}

/// The number of dead letters in a selection.
pub async fn count(pool: &PgPool, selection: &Selection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from bus.dead_letters
           where ($1::bigint[] is null or id = any($1))
             and ($2::text is null or event_type = $2)
             and ($3::text is null or strpos(reason, $3) > 0)
             and ($4::timestamptz is null or dead_at < $4)
             and ($5::uuid is null or subject = $5)
             and ($6::text is null or queue = $6)"#,
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
        selection.queue,
    )
    .fetch_one(pool)
    .await
}

/// The body of a dead letter's message.
pub async fn find_body(pool: &PgPool, id: i64) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select body from bus.dead_letters where id = $1", id)
        .fetch_optional(pool)
        .await
}

/// Applies `action` to the dead letters of a selection, or to the oldest `limit` of them, and
/// records `actor` in the audit. Returns their number.
pub async fn settle(
    pool: &PgPool,
    selection: &Selection,
    limit: Option<i64>,
    action: Action,
    actor: UserId,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with gone as (
               delete from bus.dead_letters
               where id = any(array(
                   select id from bus.dead_letters
                   where ($1::bigint[] is null or id = any($1))
                     and ($2::text is null or event_type = $2)
                     and ($3::text is null or strpos(reason, $3) > 0)
                     and ($4::timestamptz is null or dead_at < $4)
                     and ($5::uuid is null or subject = $5)
                     and ($10::text is null or queue = $10)
                   order by id
                   limit $9::bigint
                   for update))
               returning *),
           again as (
               insert into bus.messages
                   (queue, event_id, event_type, subject, body, sent_at, visible_at)
               select queue, event_id, event_type, subject, body, sent_at, $8
               from gone where $6 = 'redrive'
               order by id),
           audit as (
               insert into bus.dead_letter_audit
                   (at, actor, action, dead_letter_id, queue, event_id, reason)
               select $8, $7::uuid::text, $6, id, queue, event_id, reason from gone order by id)
           select count(*) as "count!" from gone"#,
        selection.ids.as_deref(),
        selection.event_type,
        selection.reason,
        selection.before,
        selection.subject,
        action.as_str(),
        actor as UserId,
        now,
        limit,
        selection.queue,
    )
    .fetch_one(pool)
    .await
}
