//! Sync: compares products with listings, and repairs what differs.

use std::sync::Arc;

use shared::host::Work as _;
use sync::Reconciler;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use utoipa_axum::router::OpenApiRouter;

use super::catalog::TABLE;
use super::service::{Context, Part, Service, Starting};

/// Compares the two stores and repairs differences.
pub const SYNC: Part = Part::new("sync");

pub(super) static SERVICE: Service = Service {
    parts: &[SYNC],
    migrator: Some(&sync::MIGRATOR),
    expensive_paths: &[],
    producer: None,
    openapi: || sync::routes().into_openapi(),
    start,
};

fn start<'a>(context: &'a Context, work: &'a mut JoinSet<()>) -> Starting<'a> {
    let mut routes = OpenApiRouter::new();
    if context.runs(SYNC) {
        let requested = Arc::new(Notify::new());
        let app = sync::App::new(
            context.requests.clone(),
            &context.clock,
            &context.ids,
            context.verifier.clone(),
            Arc::clone(&requested),
        );
        routes = sync::routes().with_state(app);
        let reconciler = Reconciler::new(
            context.background.clone(),
            context.dynamodb.clone(),
            TABLE,
            context.clock.clone(),
            context.ids.clone(),
        )
        .with_queue(context.queue.clone());
        work.spawn(reconciler.run(requested, context.stop.clone()));
    }
    Box::pin(async { Ok(routes) })
}
