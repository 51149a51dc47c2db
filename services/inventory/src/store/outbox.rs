//! The outbox: pointers to what still has to be published.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// A pointer with what it points at.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) position: i64,
    pub(crate) subject: Uuid,
    /// When the pointer was written: later than the commit if it announces the change again.
    pub(crate) pointed_at: DateTime<Utc>,
    /// None where the journal has no such entry.
    pub(crate) entry: Option<Entry>,
}

/// What the journal has of a change that is to be announced.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) event_id: Uuid,
    pub(crate) event: String,
    pub(crate) traceparent: String,
    pub(crate) request_id: Uuid,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) committed_at: DateTime<Utc>,
}

/// Both as PostgreSQL gives them.
struct Row {
    position: i64,
    subject: Uuid,
    event_id: Option<Uuid>,
    event: Option<String>,
    traceparent: Option<String>,
    request_id: Option<Uuid>,
    requested_at: Option<DateTime<Utc>>,
    committed_at: Option<DateTime<Utc>>,
    pointed_at: DateTime<Utc>,
}

impl Row {
    fn into_claimed(self) -> Claimed {
        let Self { position, subject, pointed_at, .. } = self;
        Claimed { position, subject, pointed_at, entry: self.into_entry() }
    }

    fn into_entry(self) -> Option<Entry> {
        Some(Entry {
            event_id: self.event_id?,
            event: self.event?,
            traceparent: self.traceparent?,
            request_id: self.request_id?,
            requested_at: self.requested_at?,
            committed_at: self.committed_at?,
        })
    }
}

/// How much is waiting.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Backlog {
    pub pending: i64,
    pub oldest_committed_at: Option<DateTime<Utc>>,
    /// Repairs that reconciliation has asked for and that are not done.
    pub repairs: i64,
}

/// Claims the oldest pointers that are due and that nobody else has claimed, for as long as the
/// transaction lasts. Journal entries are read one by one (`lateral` with a limit): a join whose
/// generic plan was made while the journal was small would read all of it ever after.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"with claimed as (
               select position, aggregate, aggregate_id, version, committed_at as pointed_at
               from inventory.outbox
               where not_before is null or not_before <= $2
               order by position
               limit $1
               for update skip locked)
           select c.position, c.aggregate_id as subject, j.event_id as "event_id?",
                  j.event::text as "event?", j.traceparent as "traceparent?",
                  j.request_id as "request_id?", j.requested_at as "requested_at?",
                  j.committed_at as "committed_at?", c.pointed_at
           from claimed c
           left join lateral (
               select event_id, event, traceparent, request_id, requested_at, committed_at
               from inventory.journal
               where aggregate_id = c.aggregate_id and aggregate = c.aggregate
                 and version = c.version
               limit 1) j on true
           order by c.position"#,
        limit,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Row::into_claimed).collect())
}

/// Deletes pointers whose events are published.
pub(crate) async fn delete(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from inventory.outbox where position = any($1)", positions)
        .execute(connection)
        .await?;
    Ok(())
}

/// Has pointers wait until `not_before`, so that others go first.
pub(crate) async fn put_off(
    connection: &mut PgConnection,
    positions: &[i64],
    not_before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update inventory.outbox set not_before = $2 where position = any($1)",
        positions,
        not_before,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn backlog(pool: &PgPool) -> Result<Backlog, sqlx::Error> {
    sqlx::query_as!(
        Backlog,
        r#"select count(*) as "pending!", min(committed_at) as oldest_committed_at,
                  (select count(*) from inventory.repair_requests) as "repairs!"
           from inventory.outbox"#,
    )
    .fetch_one(pool)
    .await
}
