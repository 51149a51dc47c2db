//! The contract of inventory: the state of products, their events in flight, and repair requests.

use chrono::{DateTime, Utc};
use shared::contract::product::ContentHash;
use shared::id::ProductId;
use sqlx::{PgConnection, PgPool};

use crate::comparison::{Difference, Row, StockPart};
use crate::error::StoreError;

struct FeedRow {
    id: ProductId,
    version: i64,
    content_hash: String,
    deleted_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
    stock_version: i64,
    on_hand: i64,
    held: i64,
    stock_updated_at: DateTime<Utc>,
}

impl From<FeedRow> for Row {
    fn from(row: FeedRow) -> Self {
        Self {
            id: row.id,
            version: row.version,
            content_hash: ContentHash(row.content_hash),
            deleted_at: row.deleted_at,
            updated_at: row.updated_at,
            stock: StockPart { version: row.stock_version, on_hand: row.on_hand, held: row.held },
            stock_updated_at: row.stock_updated_at,
        }
    }
}

/// Up to `limit` products of a bucket after the id `after`, in the order of their ids.
pub(crate) async fn page(
    pool: &PgPool,
    bucket: i32,
    after: ProductId,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as!(
        FeedRow,
        r#"select id as "id!", version as "version!", content_hash as "content_hash!", deleted_at,
                  updated_at as "updated_at!", stock_version as "stock_version!",
                  on_hand as "on_hand!", held as "held!", stock_updated_at as "stock_updated_at!"
           from inventory.sync_feed
           where bucket = $1 and id > $2
           order by id
           limit $3"#,
        bucket,
        after as ProductId,
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres(format!("reading bucket {bucket} of inventory.sync_feed")))?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// The products among `ids` that exist.
pub(crate) async fn read(pool: &PgPool, ids: &[ProductId]) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as!(
        FeedRow,
        r#"select id as "id!", version as "version!", content_hash as "content_hash!", deleted_at,
                  updated_at as "updated_at!", stock_version as "stock_version!",
                  on_hand as "on_hand!", held as "held!", stock_updated_at as "stock_updated_at!"
           from inventory.sync_feed
           where id = any($1)"#,
        ids as &[ProductId],
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres("reading products of inventory.sync_feed"))?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// Those of `ids` with unpublished events, each with the part concerned: `product` or `stock`.
pub(crate) async fn pending(
    pool: &PgPool,
    ids: &[ProductId],
) -> Result<Vec<(ProductId, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"select id as "id!: ProductId", part as "part!" from inventory.pending($1)"#,
        ids as &[ProductId]
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres("calling inventory.pending"))?;
    Ok(rows.into_iter().map(|row| (row.id, row.part)).collect())
}

/// When the oldest unpublished event was committed.
pub(crate) async fn oldest_pending(pool: &PgPool) -> Result<Option<DateTime<Utc>>, StoreError> {
    sqlx::query_scalar!("select inventory.oldest_pending()")
        .fetch_one(pool)
        .await
        .map_err(StoreError::postgres("calling inventory.oldest_pending"))
}

/// The highest position ever allocated.
pub(crate) async fn last_position(pool: &PgPool) -> Result<i64, StoreError> {
    sqlx::query_scalar!(r#"select inventory.last_position() as "position!""#)
        .fetch_one(pool)
        .await
        .map_err(StoreError::postgres("calling inventory.last_position"))
}

/// Requests repairs: the state of each product is announced again, above the version that its listing
/// has. Returns how many products are announced.
pub(crate) async fn republish(
    connection: &mut PgConnection,
    differences: &[Difference],
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    let ids: Vec<ProductId> = differences.iter().map(|d| d.id).collect();
    let seen: Vec<Option<i64>> =
        differences.iter().map(|d| d.product.map(|gap| gap.seen)).collect();
    let seen_stock: Vec<Option<i64>> =
        differences.iter().map(|d| d.stock.map(|gap| gap.seen)).collect();
    let moved = sqlx::query_scalar!(
        "select inventory.republish($1, $2, $3, $4)",
        &ids as &[ProductId],
        &seen as &[Option<i64>],
        &seen_stock as &[Option<i64>],
        now,
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::postgres("calling inventory.republish"))?;
    Ok(moved.unwrap_or(0))
}

/// Those of `categories` with at least one product that buyers should see.
pub(crate) async fn categories_in_use(
    pool: &PgPool,
    categories: &[String],
) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar!(
        r#"select category as "category!" from inventory.categories_in_use($1) as category"#,
        categories
    )
    .fetch_all(pool)
    .await
    .map_err(StoreError::postgres("calling inventory.categories_in_use"))
}
