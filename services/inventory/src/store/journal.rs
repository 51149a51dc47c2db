//! The journal: append-only, every version of every aggregate with who made it so.

use chrono::{DateTime, Utc};
use shared::contract::product::Product;
use shared::contract::stock::Stock;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::from_json;

/// One version of a product.
#[derive(Clone, Debug, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Entry {
    pub version: i64,
    pub at: DateTime<Utc>,
    /// Who made the change: the subject of the token.
    pub actor: Uuid,
    /// `created`, `updated`, `deleted`, `restored` or `repaired`.
    #[schema(example = "updated")]
    pub change: String,
    /// The product as it was from then on.
    pub product: Product,
}

/// The product as it was at a version.
pub(crate) async fn find_product(
    pool: &PgPool,
    id: Uuid,
    version: i64,
) -> Result<Option<Product>, sqlx::Error> {
    let event = sqlx::query_scalar!(
        r#"select event::text as "event!" from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and version = $2"#,
        id,
        version,
    )
    .fetch_optional(pool)
    .await?;
    event.map(|json| from_json(&json)).transpose().map(|event| event?.product().cloned())
}

/// The stock as it was at a version.
pub(crate) async fn find_stock(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    version: i64,
) -> Result<Option<Stock>, sqlx::Error> {
    let event = sqlx::query_scalar!(
        r#"select event::text as "event!" from inventory.journal
           where aggregate = 'stock' and aggregate_id = $1 and version = $2"#,
        id,
        version,
    )
    .fetch_optional(executor)
    .await?;
    event.map(|json| from_json(&json)).transpose().map(|event| event?.stock().cloned())
}

/// The versions of a product after `after`, oldest first.
pub(crate) async fn list(
    pool: &PgPool,
    id: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query!(
        r#"select version, committed_at, actor, change, event::text as "event!"
           from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and version > $2
           order by version
           limit $3"#,
        id,
        after,
        limit,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(|row| entry(row.version, row.committed_at, row.actor, row.change, &row.event))
    .collect()
}

/// The version of a product that was the current one at `at`.
pub(crate) async fn find_as_of(
    pool: &PgPool,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query!(
        r#"select version, committed_at, actor, change, event::text as "event!"
           from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and committed_at <= $2
           order by version desc
           limit 1"#,
        id,
        at,
    )
    .fetch_optional(pool)
    .await?
    .map(|row| entry(row.version, row.committed_at, row.actor, row.change, &row.event))
    .transpose()
}

fn entry(
    version: i64,
    at: DateTime<Utc>,
    actor: Uuid,
    change: String,
    event: &str,
) -> Result<Entry, sqlx::Error> {
    let event = from_json(event)?;
    let product = event.product().cloned().ok_or_else(|| {
        sqlx::Error::Decode("the journal of a product holds an event without one".into())
    })?;
    Ok(Entry { version, at, actor, change, product })
}
