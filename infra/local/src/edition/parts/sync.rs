//! Sync: compares products with listings, and repairs what differs.

use std::sync::Arc;

use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::Queues;
use shared::contract::routes::ROUTES;
use shared::host::Work as _;
use sync::{Listings, Reconciler};
use tokio::sync::Notify;
use tokio::task::JoinSet;

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
    let requested = Arc::new(Notify::new());
    let queues = Queues::new(context.requests.clone(), context.clock.clone(), ROUTES);
    let app = sync::App::new(
        context.requests.clone(),
        &context.clock,
        &context.ids,
        context.verifier.clone(),
        Listings::new(context.dynamodb.clone(), TABLE),
        DeadLetters::Postgres(queues),
    )
    .with_requested(Arc::clone(&requested));
    // An edition without this part has messages to trace and to redrive, too.
    let mut routes = sync::message_routes().with_state(app.clone());
    if context.runs(SYNC) {
        routes = routes.merge(sync::reconciliation_routes().with_state(app));
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
