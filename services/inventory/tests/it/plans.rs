//! Each connection plans a statement once, often while the tables are empty. The plan must find rows
//! by their whole key instead of reading all rows of a seller.

use serde_json::{Value, json};
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::{Call, TestResponse};

use crate::{TestService, path_of, shoe};

/// The most rows that a request may read: a page of a list, and a few more.
const MAX_ROWS_READ: i64 = 60;

#[tokio::test]
async fn no_request_reads_all_rows_of_a_seller() {
    let mut excessive = Vec::new();
    for planned_among in [0, 1, 2, 3, 5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 250, 300] {
        let service = TestService::with_connections(1).await;
        // New statistics would replan the statements, but a release cannot rely on them.
        for table in ["products", "stock", "journal", "outbox", "idempotency"] {
            let statement = format!("alter table inventory.{table} set (autovacuum_enabled = off)");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&service.pool).await.unwrap();
        }
        let other = service.tokens.token(UserId::from_u128(7), Role::Seller);
        create_many(&service, &service.seller, 0..planned_among).await;
        sqlx::query("discard plans").execute(&service.pool).await.unwrap();
        every_request(&service, "early").await;
        create_many(&service, &service.seller, planned_among..300).await;
        create_many(&service, &other, 300..600).await;
        let read = every_request(&service, "late").await;
        let read = read.into_iter().filter(|(_, rows)| *rows > MAX_ROWS_READ);
        excessive.extend(read.map(|(what, rows)| (planned_among, what, rows)));
    }
    assert!(excessive.is_empty(), "(planned among, request, rows read of 600): {excessive:?}");
}

async fn create_many(service: &TestService, seller: &str, numbers: std::ops::Range<u32>) {
    let items: Vec<Value> = numbers.map(|n| shoe(&format!("SHOE-{n}"))).collect();
    for some in items.chunks(100) {
        let call = Call::post("/v1/products/batch").json(&json!({ "items": some }));
        call.bearer(seller).send(&service.router).await.expect(200);
    }
}

/// Makes each request once and returns how many rows it read.
async fn every_request(service: &TestService, name: &str) -> Vec<(&'static str, i64)> {
    let mut rows = Vec::new();
    let any = ("if-match", "*");
    let created = service.create(&format!("{name}-0")).await;
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
        let before = read_so_far(service).await;
        let response: TestResponse = service.send(call).await;
        assert_eq!(response.status, status, "{what}: {}", response.text);
        rows.push((what, read_so_far(service).await - before));
    }
    rows
}

/// Counts the rows and index entries that the only connection of this service has read.
async fn read_so_far(service: &TestService) -> i64 {
    sqlx::query("select pg_stat_force_next_flush()").execute(&service.pool).await.unwrap();
    sqlx::query_scalar(
        "select (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'inventory')
                ::bigint
              + (select sum(seq_tup_read) from pg_stat_user_tables where schemaname = 'inventory')
                ::bigint",
    )
    .fetch_one(&service.pool)
    .await
    .unwrap()
}
