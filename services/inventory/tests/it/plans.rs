//! Statements are planned once a connection, often while the tables are empty: what they look for
//! must be found by its whole key then, and not among everything that a seller has.

use serde_json::{Value, json};
use shared::http::auth::Role;
use testkit::{Answer, Call};
use uuid::Uuid;

use crate::{World, path_of, shoe};

/// What a request may read: a page of a list, and some rows around it.
const ENOUGH: i64 = 60;

#[tokio::test]
async fn no_request_reads_everything_a_seller_has() {
    let mut greedy = Vec::new();
    for planned_among in [0, 1, 2, 3, 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 250, 300] {
        let world = World::over(1).await;
        // Statistics would have the statements planned anew, and no release waits for them.
        for table in ["products", "stock", "journal", "outbox", "idempotency"] {
            let statement = format!("alter table inventory.{table} set (autovacuum_enabled = off)");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&world.pool).await.unwrap();
        }
        let other = world.tokens.token(Uuid::from_u128(7), Role::Seller);
        create_many(&world, &world.seller, 0..planned_among).await;
        sqlx::query("discard plans").execute(&world.pool).await.unwrap();
        every_request(&world, "early").await;
        create_many(&world, &world.seller, planned_among..300).await;
        create_many(&world, &other, 300..600).await;
        let read = every_request(&world, "late").await;
        let read = read.into_iter().filter(|(_, rows)| *rows > ENOUGH);
        greedy.extend(read.map(|(what, rows)| (planned_among, what, rows)));
    }
    assert!(greedy.is_empty(), "(planned among, request, rows read of 600): {greedy:?}");
}

async fn create_many(world: &World, seller: &str, numbers: std::ops::Range<u32>) {
    let items: Vec<Value> = numbers.map(|n| shoe(&format!("SHOE-{n}"))).collect();
    for some in items.chunks(100) {
        let call = Call::post("/v1/products/batch").json(&json!({ "items": some }));
        call.bearer(seller).send(&world.router).await.expect(200);
    }
}

/// Makes each request once, and says how many rows it read.
async fn every_request(world: &World, name: &str) -> Vec<(&'static str, i64)> {
    let mut rows = Vec::new();
    let any = ("if-match", "*");
    let created = world.create(&format!("{name}-0")).await;
    let path = path_of(&created);
    let sku = |nth: u8| format!("{name}-{nth}");
    let post = || Call::post("/v1/products");
    let batch = json!({"items": [shoe(&sku(1)), shoe(&sku(2)), shoe(&sku(2))]});
    let requests = [
        ("create", post().header("idempotency-key", name).json(&shoe(&sku(3))), 201),
        ("replay", post().header("idempotency-key", name).json(&shoe(&sku(3))), 201),
        ("key of another", post().header("idempotency-key", name).json(&shoe(&sku(4))), 422),
        ("taken sku", post().json(&shoe(&sku(3))), 409),
        (
            "batch",
            Call::post("/v1/products/batch").header("idempotency-key", name).json(&batch),
            200,
        ),
        ("get", Call::get(&path), 200),
        ("list", Call::get("/v1/products"), 200),
        ("list of a status", Call::get("/v1/products?status=active"), 200),
        ("list of a sku", Call::get(&format!("/v1/products?sku={}", sku(3))), 200),
        ("change", Call::patch(&path).header(any.0, any.1).json(&json!({"name": name})), 200),
        ("history", Call::get(&format!("{path}/history")), 200),
        ("stock", Call::get(&format!("{path}/stock")), 200),
        (
            "set stock",
            Call::put(&format!("{path}/stock")).header(any.0, any.1).json(&json!({"on_hand": 3})),
            200,
        ),
        (
            "adjust stock",
            Call::post(&format!("{path}/stock/adjustments"))
                .json(&json!({"delta": -1, "reason": "recount"})),
            200,
        ),
        ("delete", Call::delete(&path).header(any.0, any.1), 204),
        ("restore", Call::post(&format!("{path}/restore")), 200),
    ];
    for (what, call, status) in requests {
        let before = read_so_far(world).await;
        let answer: Answer = world.send(call).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        rows.push((what, read_so_far(world).await - before));
    }
    rows
}

/// Rows and index entries that the one connection of this world has read.
async fn read_so_far(world: &World) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(&world.pool).await.unwrap();
    sqlx::query_scalar(
        "select (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'inventory')
                ::bigint
              + (select sum(seq_tup_read) from pg_stat_user_tables where schemaname = 'inventory')
                ::bigint",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap()
}
