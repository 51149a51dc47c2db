//! Whole rows, so that a test that compares them sees every column.

use serde_json::Value;
use sqlx::PgPool;

/// All rows of a table as JSON objects, sorted by the columns `order`. Times are in UTC, and bytes in hex
/// after `\x`.
pub async fn rows(pool: &PgPool, table: &str, order: &str) -> Vec<Value> {
    // Safe: both are constants of tests.
    let statement = format!("select to_jsonb(t) from {table} t order by {order}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await.unwrap()
}
