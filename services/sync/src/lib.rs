//! Reconciliation: compares what is true in PostgreSQL with what is listed in DynamoDB.
//!
//! Promise: drift is bounded, measured and mended. Every difference is found within a pass, what is
//! only under way is none, and a repair is an announcement through the ordinary path: this service
//! writes no listing.

mod categories;
mod comparison;
pub mod config;
mod http;
mod reconciler;
mod report;
mod round;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use shared::bus;
use shared::clock::Clock;
use shared::contract::sync_feed;
use shared::database::ServiceSchema;
use shared::http::auth::Verifier;
use shared::id::Ids;
use sqlx::PgPool;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

pub use http::PROBLEMS;
pub use reconciler::{Reconciler, Settings, SyncError};
pub use store::listings::StoreError;
pub use store::runs::{BucketProgress, Run, State};

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Its own tables, the bus with its dead letters, and what inventory publishes to it.
pub static SCHEMA: ServiceSchema = ServiceSchema {
    migrators: &[&bus::MIGRATOR, &MIGRATOR],
    schemas: &["bus", "sync"],
    publishes: &[],
    uses: &[sync_feed::DATABASE_ROLE],
};

/// What the service needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub verifier: Verifier,
    /// Wakes the reconciler of this process; that of another looks by itself.
    pub requested: Arc<Notify>,
}

impl App {
    pub fn new(
        pool: PgPool,
        clock: &Clock,
        ids: &Ids,
        verifier: Verifier,
        requested: Arc<Notify>,
    ) -> Self {
        Self { pool, clock: clock.clone(), ids: ids.clone(), verifier, requested }
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// The routes with their description.
pub fn routes() -> OpenApiRouter<App> {
    http::routes()
}

/// The routes, ready to be served.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
