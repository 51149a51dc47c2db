//! The seller's API over a real database: its responses, and what they leave stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod function;
mod idempotency;
mod plans;
mod products;
mod program;
mod rate_limit;
mod relay;
mod stock;

use std::sync::Arc;

use axum::Router;
use chrono::DateTime;
use inventory::App;
use serde_json::{Value, json};
use shared::bus;
use shared::clock::Clock;
use shared::config::Secret;
use shared::database::{DatabaseConfig, connect};
use shared::host;
use shared::http::auth::Role;
use shared::id::Ids;
use sqlx::PgPool;
use testkit::{Call, TestDatabase, TestResponse, Tokens, database};
use uuid::Uuid;

/// A service with a database of its own, and a seller with a valid token.
pub(crate) struct TestService {
    pub(crate) router: Router,
    pub(crate) tokens: Tokens,
    pub(crate) clock: Clock,
    pub(crate) seller: String,
    pub(crate) seller_id: Uuid,
    pub(crate) pool: PgPool,
    database: TestDatabase,
}

impl TestService {
    pub(crate) async fn new() -> Self {
        Self::with_connections(8).await
    }

    /// As [`TestService::new`], with at most `max_connections` to PostgreSQL.
    pub(crate) async fn with_connections(max_connections: u32) -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR]).await;
        let url = Secret::new(database.url.clone());
        let pool = connect(&DatabaseConfig::new(url, max_connections, "vitrina tests")).unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let ids = Ids::seeded(1);
        let tokens = Tokens::new(clock.clone());
        let app = App::new(pool.clone(), &clock, &ids, tokens.verifier(), Arc::default());
        let router = host::server::with_standard_layers(inventory::router(app), &clock, &ids);
        let seller_id = Uuid::from_u128(0x005e_11e5);
        let seller = tokens.token(seller_id, Role::Seller);
        Self { router, tokens, clock, seller, seller_id, pool, database }
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
