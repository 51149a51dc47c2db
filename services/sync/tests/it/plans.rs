//! Statements are planned once a connection, often while there are few products: a bucket must be
//! found by its number then, and not among all products.

use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use sqlx::PgPool;
use sync::Reconciler;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{TABLE, World, settings};

const PRODUCTS: i64 = 150;

#[tokio::test]
async fn a_pass_reads_each_product_about_once_whenever_its_statements_were_planned() {
    for planned_among in [0, 100] {
        let world = World::new().await;
        // Statistics would have the statements planned anew.
        for table in ["products", "stock"] {
            let statement = format!("alter table inventory.{table} set (autovacuum_enabled = off)");
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&world.database.pool)
                .await
                .unwrap();
        }
        let pool = connect(&DatabaseConfig::new(
            Secret::new(world.database.url.clone()),
            1,
            "vitrina tests",
        ))
        .unwrap();
        let (client, clock, ids) = (world.client.clone(), world.clock.clone(), world.ids.clone());
        let reconciler =
            Reconciler::new(pool.clone(), client, TABLE, clock, ids).with_settings(settings());
        create(&world, 0..planned_among).await;
        pass(&reconciler).await;
        create(&world, planned_among..PRODUCTS).await;
        let before = read_so_far(&pool).await;
        assert_eq!(pass(&reconciler).await, PRODUCTS);
        let read = read_so_far(&pool).await - before;
        // Its entry in an index, its stock, and what a page reads to know that it was the last.
        assert!(read <= 4 * PRODUCTS, "{read} rows, planned among {planned_among}");
    }
}

async fn create(world: &World, numbers: std::ops::Range<i64>) {
    for number in numbers {
        world.create(&format!("SKU-{number}"), "shoes").await;
    }
    world.arrive().await;
}

/// How many products a whole pass compared.
async fn pass(reconciler: &Reconciler) -> i64 {
    let id = reconciler.request(Uuid::nil(), false).await.unwrap();
    while reconciler.find_run(id).await.unwrap().unwrap().finished_at.is_none() {
        reconciler.once(&CancellationToken::new()).await.unwrap();
    }
    reconciler.find_run(id).await.unwrap().unwrap().findings.compared
}

/// Rows and index entries of products and their stock that the one connection of `pool` has read.
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
