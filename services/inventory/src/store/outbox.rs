//! The outbox: pointers to what still has to be published.

use chrono::{DateTime, Utc};
use shared::contract::inventory::Event;
use shared::id::{EventId, RequestId};
use shared::outbox::{self, Claimed, Entry, Outbox};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// The outbox of inventory, whose pointers point into the journal.
#[derive(Clone, Copy, Debug)]
pub struct ProductOutbox;

impl Outbox for ProductOutbox {
    type Event = Event;

    async fn claim(
        &self,
        transaction: &mut PgConnection,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Claimed>, sqlx::Error> {
        // Journal entries are read one by one (`lateral` with a limit): a join whose generic plan was
        // made while the journal was small would read all of it ever after.
        let rows = sqlx::query_as!(
            Row,
            r#"with claimed as (
               select position, aggregate, aggregate_id, version, committed_at as pointed_at
               from inventory.outbox
               where not_before is null or not_before <= $2 or not_before > $3
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
            now + outbox::MAX_DELAY,
        )
        .fetch_all(transaction)
        .await?;
        Ok(rows.into_iter().map(Row::into_claimed).collect())
    }

    async fn delete(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
    ) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from inventory.outbox where position = any($1)", positions)
            .execute(transaction)
            .await?;
        Ok(())
    }

    async fn put_off(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
        not_before: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update inventory.outbox set not_before = $2 where position = any($1)",
            positions,
            not_before,
        )
        .execute(transaction)
        .await?;
        Ok(())
    }

    async fn backlog(&self, pool: &PgPool) -> Result<outbox::Backlog, sqlx::Error> {
        let Backlog { pending, oldest_committed_at, repairs } = backlog(pool).await?;
        Ok(outbox::Backlog { pending, oldest_committed_at, requested: repairs })
    }
}

/// A pointer with its journal entry, as PostgreSQL returns them.
struct Row {
    position: i64,
    subject: Uuid,
    event_id: Option<EventId>,
    event: Option<String>,
    traceparent: Option<String>,
    request_id: Option<RequestId>,
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

/// How much is pending.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Backlog {
    pub pending: i64,
    pub oldest_committed_at: Option<DateTime<Utc>>,
    /// Repairs that reconciliation has asked for and that are not done.
    pub repairs: i64,
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
