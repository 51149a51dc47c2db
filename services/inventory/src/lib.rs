//! The write side: products and their stock, in PostgreSQL.
//!
//! Promise: once a write has its response, the product and its event are in one committed transaction.

mod change_stock;
pub mod config;
mod create;
mod event;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod group_commit;
mod http;
mod patch;
mod product;
pub mod relay;
mod repair;
mod revise;
mod schema;
mod stock;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use shared::clock::Clock;
use shared::http::auth::Verifier;
use shared::http::problem::FieldError;
use shared::http::request::RequestContext;
use shared::id::{Ids, UserId};
use sqlx::PgPool;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

use group_commit::GroupCommit;
use store::Cause;

pub use http::{BatchResults, ItemResult, PROBLEMS, ProductView};
pub use schema::SCHEMA;
pub use store::outbox::Backlog;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The dependencies of the service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    pub pool: PgPool,
    pub clock: Clock,
    pub ids: Ids,
    pub verifier: Verifier,
    /// Wakes a relay in this process after a commit; any other relay finds the event at its next tick.
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

    fn cause(&self, actor: UserId, request: RequestContext) -> Cause {
        let event_id = self.ids.next(request.requested_at);
        Cause { actor, event_id, request, reason: None }
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// Checks a product as JSON and returns every fault of it. Only what depends on stored products,
/// such as a taken SKU, is not checked.
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

/// The routes with their state.
pub fn router(app: App) -> Router {
    Router::from(routes()).with_state(app)
}
