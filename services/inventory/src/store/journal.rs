//! The journal: append-only, every version of every aggregate with its actor.

use chrono::{DateTime, Utc};
use shared::contract::inventory::Event;
use shared::contract::stock::Stock;
use shared::id::{ProductId, UserId};
use sqlx::{PgExecutor, PgPool};

use super::{DecodeError, StoreError, doing};
use crate::product::Product;

/// One version of a product.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub version: i64,
    pub at: DateTime<Utc>,
    /// The subject of the token that made the change.
    pub actor: UserId,
    /// `created`, `updated`, `deleted`, `restored` or `repaired`.
    pub change: String,
    /// The product after the change.
    pub product: Product,
}

/// Finds the product as it was at a version.
pub(crate) async fn find_product(
    pool: &PgPool,
    id: ProductId,
    version: i64,
) -> Result<Option<Product>, StoreError> {
    sqlx::query_scalar!(
        r#"select event::text as "event!" from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and version = $2"#,
        id as ProductId,
        version,
    )
    .fetch_optional(pool)
    .await
    .and_then(|event| event.map(|json| product_of(id, version, &json)).transpose())
    .map_err(doing("reading a version of a product of inventory.journal"))
}

/// Finds the stock as it was at a version.
pub(crate) async fn find_stock(
    executor: impl PgExecutor<'_>,
    id: ProductId,
    version: i64,
) -> Result<Option<Stock>, StoreError> {
    sqlx::query_scalar!(
        r#"select event::text as "event!" from inventory.journal
           where aggregate = 'stock' and aggregate_id = $1 and version = $2"#,
        id as ProductId,
        version,
    )
    .fetch_optional(executor)
    .await
    .and_then(|event| event.map(|json| stock_of(id, version, &json)).transpose())
    .map_err(doing("reading a version of a stock of inventory.journal"))
}

/// Lists the versions of a product after `after`, oldest first.
pub(crate) async fn list(
    pool: &PgPool,
    id: ProductId,
    after: i64,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    sqlx::query_as!(
        Row,
        r#"select version, committed_at, actor, change, event::text as "event!"
           from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and version > $2
           order by version
           limit $3"#,
        id as ProductId,
        after,
        limit,
    )
    .fetch_all(pool)
    .await
    .and_then(|rows| rows.into_iter().map(|row| row.into_entry(id)).collect())
    .map_err(doing("listing versions of a product of inventory.journal"))
}

/// Finds the version of a product that was current at `at`.
pub(crate) async fn find_as_of(
    pool: &PgPool,
    id: ProductId,
    at: DateTime<Utc>,
) -> Result<Option<Entry>, StoreError> {
    sqlx::query_as!(
        Row,
        r#"select version, committed_at, actor, change, event::text as "event!"
           from inventory.journal
           where aggregate = 'product' and aggregate_id = $1 and committed_at <= $2
           order by version desc
           limit 1"#,
        id as ProductId,
        at,
    )
    .fetch_optional(pool)
    .await
    .and_then(|row| row.map(|row| row.into_entry(id)).transpose())
    .map_err(doing("reading the version of a product at a time of inventory.journal"))
}

/// An entry as PostgreSQL has it.
struct Row {
    version: i64,
    committed_at: DateTime<Utc>,
    actor: UserId,
    change: String,
    event: String,
}

impl Row {
    fn into_entry(self, id: ProductId) -> Result<Entry, sqlx::Error> {
        let Self { version, committed_at: at, actor, change, event } = self;
        let product = product_of(id, version, &event)?;
        Ok(Entry { version, at, actor, change, product })
    }
}

fn product_of(id: ProductId, version: i64, event: &str) -> Result<Product, sqlx::Error> {
    match event_of(id, version, event)? {
        Event::ProductCreated { product, .. }
        | Event::ProductUpdated { product }
        | Event::ProductDeleted { product } => Ok(product.into()),
        Event::StockChanged { .. } => Err(fault(id, version, "the event has no product").into()),
    }
}

fn stock_of(id: ProductId, version: i64, event: &str) -> Result<Stock, sqlx::Error> {
    match event_of(id, version, event)? {
        Event::ProductCreated { stock, .. } | Event::StockChanged { stock } => Ok(stock),
        Event::ProductUpdated { .. } | Event::ProductDeleted { .. } => {
            Err(fault(id, version, "the event has no stock").into())
        }
    }
}

fn event_of(id: ProductId, version: i64, event: &str) -> Result<Event, sqlx::Error> {
    serde_json::from_str(event).map_err(|error| fault(id, version, error).into())
}

fn fault(
    id: ProductId,
    version: i64,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> DecodeError {
    DecodeError {
        table: "inventory.journal",
        column: "event",
        row: format!("{id} at version {version}"),
        source: source.into(),
    }
}
