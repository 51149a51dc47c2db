//! The write side: owns PostgreSQL, and with it the truth about products and their stock.
//!
//! Promise: once a write is answered, the product and its event are in one committed transaction.

mod attributes;
pub mod config;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod http;
mod product;
pub mod relay;
mod repair;
mod sent;
mod stock;
mod store;
pub mod trace;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use shared::bus;
use shared::clock::Clock;
use shared::contract::sync_feed;
use shared::database::{Contract, ServiceSchema};
use shared::http::auth::Verifier;
use shared::http::problem::FieldError;
use shared::id::Ids;
use sqlx::PgPool;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

use store::group_commit::GroupCommit;

pub use http::PROBLEMS;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Its own tables, the bus that it publishes to, and what it publishes to reconciliation.
pub static SCHEMA: ServiceSchema = ServiceSchema {
    migrators: &[&bus::MIGRATOR, &MIGRATOR],
    schemas: &["bus", "inventory"],
    publishes: &[Contract {
        role: sync_feed::DATABASE_ROLE,
        grants: include_str!("../grants.sql"),
    }],
    uses: &[],
};

/// What the service needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub verifier: Verifier,
    /// Wakes the relay of this process after a commit; without one, the relay's tick finds it.
    pub committed: Arc<Notify>,
    creates: GroupCommit,
}

impl App {
    pub fn new(
        pool: PgPool,
        clock: &Clock,
        ids: &Ids,
        verifier: Verifier,
        committed: Arc<Notify>,
    ) -> Self {
        let creates = GroupCommit::new(pool.clone());
        Self { pool, clock: clock.clone(), ids: ids.clone(), verifier, committed, creates }
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Whether `sent`, a product as JSON, could be created but for what is there already: everything
/// that is wrong with it.
pub fn check(sent: &[u8]) -> Result<(), Vec<FieldError>> {
    http::check_product(sent).map_err(|problem| match problem.errors {
        errors if errors.is_empty() => {
            vec![FieldError::new("", problem.kind.code, problem.detail)]
        }
        errors => errors,
    })
}

/// The routes with their description.
pub fn routes() -> OpenApiRouter<App> {
    http::routes()
}

/// The routes, ready to be served.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
