//! Statements are planned once per connection, often while there are few products. The plan must still
//! find a bucket by its number and not scan all products.

use shared::database::connect;
use shared::id::UserId;
use sqlx::PgPool;
use sync::Reconciler;
use testkit::patient_config;
use tokio_util::sync::CancellationToken;

use crate::test_bed::{TABLE, TestBed, settings};

const PRODUCTS: i64 = 150;

#[tokio::test]
async fn pass_reads_each_product_about_once_with_any_cached_plan() {
    for planned_among in [0, 100] {
        let bed = TestBed::new().await;
        // New statistics would invalidate the cached plans.
        for table in ["products", "stock"] {
            let statement = format!("alter table inventory.{table} set (autovacuum_enabled = off)");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&bed.database.pool).await.unwrap();
        }
        let pool = connect(&patient_config(bed.database.url.clone(), 1)).unwrap();
        let (client, clock, ids) = (bed.client.clone(), bed.clock.clone(), bed.ids.clone());
        let reconciler =
            Reconciler::new(pool.clone(), client, TABLE, clock, ids).with_settings(settings());
        create(&bed, 0..planned_among).await;
        pass(&reconciler).await;
        create(&bed, planned_among..PRODUCTS).await;
        let before = read_so_far(&pool).await;
        assert_eq!(pass(&reconciler).await, PRODUCTS);
        let read = read_so_far(&pool).await - before;
        // Its index entry, its stock, and the extra row that tells whether a page is the last.
        assert!(read <= 4 * PRODUCTS, "{read} rows, planned among {planned_among}");
    }
}

async fn create(bed: &TestBed, numbers: std::ops::Range<i64>) {
    for number in numbers {
        bed.create(&format!("SKU-{number}"), "shoes").await;
    }
    bed.arrive().await;
}

/// Runs a whole pass and returns how many products it compared.
async fn pass(reconciler: &Reconciler) -> i64 {
    let id = reconciler.request(UserId::nil(), false).await.unwrap();
    while reconciler.find_run(id).await.unwrap().unwrap().finished_at.is_none() {
        reconciler.once(&CancellationToken::new()).await.unwrap();
    }
    reconciler.find_run(id).await.unwrap().unwrap().findings.compared
}

/// How many rows and index entries of products and their stock the only connection of `pool` has read.
async fn read_so_far(pool: &PgPool) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(pool).await.unwrap();
    sqlx::query_scalar(
        "select (select sum(idx_tup_read) from pg_stat_user_indexes
                 where schemaname = 'inventory' and relname in ('products', 'stock'))::bigint
              + (select sum(seq_tup_read) from pg_stat_user_tables
                 where schemaname = 'inventory' and relname in ('products', 'stock'))::bigint",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}
