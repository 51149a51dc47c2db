//! Reconciliation: compares the products in PostgreSQL with the listings in DynamoDB.
//!
//! Promise: drift is bounded, measured and repaired. Every difference is found within a pass, an event
//! in flight never counts as a difference, and a repair is an announcement through the ordinary path:
//! this service writes no listing. Its API also shows operators where a change is and what became of
//! its messages.

mod categories;
mod comparison;
pub mod config;
mod context;
mod error;
mod findings;
mod http;
mod reconciler;
mod round;
mod schema;
mod store;
mod trace;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use shared::bus::dead_letters::DeadLetters;
use shared::clock::Clock;
use shared::http::auth::Verifier;
use shared::id::Ids;
use sqlx::PgPool;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

pub use context::Settings;
pub use error::{StoreError, SyncError};
pub use findings::Findings;
pub use http::{PROBLEMS, Queues, SettledDeadLetters};
pub use reconciler::Reconciler;
pub use schema::SCHEMA;
pub use store::listings::Listings;
pub use store::runs::{BucketProgress, Run, State};
pub use trace::{Gap, Hop, Trace, TracedChange};

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What the API needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub verifier: Verifier,
    pub listings: Listings,
    /// Every queue and its dead letters.
    pub dead_letters: DeadLetters,
    /// Wakes the reconciler of this process; one in another process polls.
    pub requested: Arc<Notify>,
}

impl App {
    pub fn new(
        pool: PgPool,
        clock: &Clock,
        ids: &Ids,
        verifier: Verifier,
        listings: Listings,
        dead_letters: DeadLetters,
    ) -> Self {
        let (clock, ids) = (clock.clone(), ids.clone());
        Self { pool, clock, ids, verifier, listings, dead_letters, requested: Arc::default() }
    }

    /// Notifies `requested` of each requested run.
    #[must_use]
    pub fn with_requested(self, requested: Arc<Notify>) -> Self {
        Self { requested, ..self }
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// The routes of reconciliations, with their description.
pub fn reconciliation_routes() -> OpenApiRouter<App> {
    http::reconciliation_routes()
}

/// The routes of traces, of the queues and of their dead letters, with their description.
pub fn message_routes() -> OpenApiRouter<App> {
    http::message_routes()
}

/// All routes with their description.
pub fn routes() -> OpenApiRouter<App> {
    reconciliation_routes().merge(message_routes())
}

/// The routes, ready to be served.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
