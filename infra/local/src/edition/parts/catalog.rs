//! Catalog: the public catalogue, and the projector that writes events into its listings.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Projector, table};
use shared::host;
use shared::host::tick::{self, Progress};
use tokio::task::JoinSet;
use utoipa_axum::router::OpenApiRouter;

use super::service::{Context, Part, Service, ServiceError};

/// The public catalogue.
pub(crate) const CATALOG: Part = Part::new("catalog");

/// Projects events into listings.
pub(crate) const PROJECTOR: Part = Part::new("projector");

/// The table of listings.
pub const TABLE: &str = "listings";

/// How often to recreate a missing table of listings: after an operator deletes it, a reconciliation
/// rebuilds the listings.
const TABLE_EVERY: Duration = Duration::from_secs(2);

pub(super) static SERVICE: Service = Service {
    parts: &[CATALOG, PROJECTOR],
    migrator: None,
    expensive_paths: &[],
    producer: None,
    openapi: || catalog::routes().into_openapi(),
    start: |context, work| Box::pin(start(context, work)),
};

async fn start(context: &Context, work: &mut JoinSet<()>) -> Result<OpenApiRouter, ServiceError> {
    table::ensure(&context.dynamodb, TABLE).await?;
    table::ensure_expiry(&context.dynamodb, TABLE).await?;
    if context.runs(PROJECTOR) {
        if context.is_database_private {
            // No other process uses the data folder, so the one that received them is dead.
            context.queue.release().await.map_err(ServiceError::Release)?;
        }
        let (client, stop) = (context.dynamodb.clone(), context.stop.clone());
        work.spawn(async move {
            tick::run("table", TABLE_EVERY, Arc::default(), stop, || async {
                table::ensure(&client, TABLE).await.map(|()| Progress::Idle)
            })
            .await;
        });
        let projector = Projector::new(context.dynamodb.clone(), TABLE, context.clock.clone());
        let (queue, clock) = (context.queue.clone(), context.clock.clone());
        let (published, stop) = (Arc::clone(&context.published), context.stop.clone());
        work.spawn(async move {
            host::intake::consume(queue, clock, &projector, published, stop).await;
        });
    }
    if !context.runs(CATALOG) {
        return Ok(OpenApiRouter::new());
    }
    let app = catalog::App::new(context.dynamodb.clone(), TABLE, context.currency)
        .with_kept_pages(catalog::pages::KEPT_FOR);
    Ok(catalog::routes().with_state(app))
}
