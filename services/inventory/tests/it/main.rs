//! The seller's API over a real database: its responses, and what they leave stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adjust_stock;
mod authorisation;
mod bad_input;
mod before_response;
mod change_product;
mod committed;
mod create_product;
mod create_products;
mod currencies;
mod delete_product;
mod function;
mod function_log_in;
mod get_outbox;
mod get_product;
mod get_product_history;
mod get_stock;
mod idempotency;
mod keys_across_routes;
mod limits;
mod list_filters;
mod list_products;
mod lists_after_changes;
mod lost_races;
mod plans;
mod product_states;
mod program;
mod published_order;
mod rate_limit;
mod rate_limit_tokens;
mod relay;
mod relay_drain;
mod relay_timeouts;
mod restore_product;
mod set_stock;
mod stored_rows;

use std::sync::Arc;

use axum::Router;
use chrono::DateTime;
use inventory::App;
use serde_json::{Value, json};
use shared::bus;
use shared::clock::Clock;
use shared::database::connect;
use shared::host;
use shared::http::auth::Role;
use shared::id::{Ids, ProductId, SellerId, UserId};
use sqlx::PgPool;
use testkit::{Call, TestDatabase, TestResponse, Tokens, database, patient_config};
use tokio::sync::Notify;

/// A service with a database of its own, and a seller with a valid token.
pub(crate) struct TestService {
    pub(crate) router: Router,
    pub(crate) tokens: Tokens,
    pub(crate) clock: Clock,
    pub(crate) seller: String,
    pub(crate) user_id: UserId,
    pub(crate) seller_id: SellerId,
    pub(crate) pool: PgPool,
    /// Wakes a relay in this process.
    pub(crate) committed: Arc<Notify>,
    database: TestDatabase,
}

impl TestService {
    pub(crate) async fn new() -> Self {
        Self::with_connections(8).await
    }

    /// As [`TestService::new`], with at most `max_connections` to PostgreSQL.
    pub(crate) async fn with_connections(max_connections: u32) -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR]).await;
        let pool = connect(&patient_config(database.url.clone(), max_connections)).unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let ids = Ids::seeded(1);
        let tokens = Tokens::new(clock.clone());
        let committed = Arc::<Notify>::default();
        let wake = Arc::clone(&committed);
        let app = App::new(pool.clone(), &clock, &ids, tokens.verifier(), wake);
        let router = host::server::with_standard_layers(inventory::router(app), &clock, &ids);
        let user_id = UserId::from_u128(0x005e_11e5);
        let seller = tokens.token(user_id, Role::Seller);
        let seller_id = SellerId::of_user(user_id);
        Self { router, tokens, clock, seller, user_id, seller_id, pool, committed, database }
    }

    pub(crate) fn url(&self) -> &str {
        &self.database.url
    }

    pub(crate) async fn send(&self, call: Call) -> TestResponse {
        call.bearer(&self.seller).send(&self.router).await
    }

    pub(crate) async fn create(&self, sku: &str) -> TestResponse {
        self.send(Call::post("/v1/products").json(&shoe(sku))).await.expect(201)
    }

    /// Requests an announcement of a product above the version `seen`, as sync does.
    pub(crate) async fn request_repair(&self, id: ProductId, seen: i64) {
        sqlx::query(
            "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
             values ($1, 'product', $2, $3)",
        )
        .bind(id)
        .bind(seen)
        .bind(self.clock.now())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Counts the rows of a table of the service.
    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let statement = format!("select count(*) from inventory.{table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(&self.pool).await.unwrap()
    }
}

pub(crate) fn shoe(sku: &str) -> Value {
    json!({
        "sku": sku, "name": "Running shoe", "category": "shoes",
        "attributes": {"size": 42, "weight": 0.25, "waterproof": true, "color": "red"},
        "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
    })
}

pub(crate) fn path_of(product: &TestResponse) -> String {
    format!("/v1/products/{}", product.json["id"].as_str().unwrap())
}

/// Posts the bytes of a product as JSON.
pub(crate) async fn post(service: &TestService, body: impl Into<Vec<u8>>) -> TestResponse {
    let call = Call::post("/v1/products").header("content-type", "application/json");
    service.send(call.bytes(body.into())).await
}

/// Asserts that the response is a problem document that a client can act on.
#[track_caller]
pub(crate) fn assert_problem(response: &TestResponse, status: u16) {
    assert_eq!(response.status.as_u16(), status, "{}", response.text);
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.json["status"], status);
    assert_eq!(response.json["request_id"], response.header("x-request-id"));
    assert!(response.json["type"].as_str().unwrap().ends_with(response.code()));
}
