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

/// Waits until `count` sessions of this database wait for a lock: each statement has run into another one.
pub async fn locks_are_awaited(pool: &PgPool, count: i64) {
    eventually(&format!("{count} sessions that wait for a lock"), async || {
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap();
        (waiting == count).then_some(())
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
