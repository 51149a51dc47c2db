//! Rows as a test sees them: whole ones, so that it sees every column, and locked ones.

use std::fmt::Write as _;

use serde_json::Value;
use sqlx::PgPool;

use crate::eventually;

/// All rows of a table as JSON objects, sorted by the columns `order`. Times are in UTC, and bytes in hex
/// after `\x`.
pub async fn rows(pool: &PgPool, table: &str, order: &str) -> Vec<Value> {
    // Safe: both are constants of tests.
    let statement = format!("select to_jsonb(t) from {table} t order by {order}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(pool).await.unwrap()
}

/// Waits until a session of this database waits for a lock: a statement has run into another one.
pub async fn lock_is_awaited(pool: &PgPool) {
    eventually("a session that waits for a lock", async || {
        let waiting =
            "select exists (select from pg_stat_activity where datname = current_database()
                       and wait_event_type = 'Lock')";
        let is_awaited: bool = sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap();
        is_awaited.then_some(())
    })
    .await;
}

/// Bytes as PostgreSQL shows them, without the `\x` before them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
