//! Inventory: the sellers' API, and the relay that publishes what was committed.

use std::sync::Arc;

use inventory::relay::Relay;
use shared::bus::Bus;
use shared::bus::postgres::PgBus;
use shared::contract::inventory::Event;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::host::Work as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use utoipa_axum::router::OpenApiRouter;

use super::service::{Context, Part, Producer, Service, Starting};

/// The sellers' API.
pub(crate) const INVENTORY: Part = Part::new("inventory");

/// Publishes the events that are committed.
pub(crate) const RELAY: Part = Part::new("relay");

pub(super) static SERVICE: Service = Service {
    parts: &[INVENTORY, RELAY],
    migrator: Some(&inventory::MIGRATOR),
    expensive_paths: &[],
    producer: Some(|| Producer::of::<Event>("products", "announce", "Envelope")),
    openapi: || inventory::routes().into_openapi(),
    start,
};

fn start<'a>(context: &'a Context, work: &'a mut JoinSet<()>) -> Starting<'a> {
    let committed = Arc::new(Notify::new());
    let mut routes = OpenApiRouter::new();
    if context.runs(INVENTORY) {
        let app = inventory::App::new(
            context.requests.clone(),
            &context.clock,
            &context.ids,
            context.verifier.clone(),
            Arc::clone(&committed),
        );
        routes = inventory::routes().with_state(app);
    }
    if context.runs(RELAY) {
        let bus = PgBus::new(context.background.clone(), context.clock.clone(), ROUTES)
            .with_nudge(CATALOG_QUEUE, Arc::clone(&context.published));
        let relay = Relay::new(
            context.background.clone(),
            Bus::Postgres(bus),
            context.clock.clone(),
            context.ids.clone(),
        );
        work.spawn(relay.run(committed, context.stop.clone()));
    }
    Box::pin(async { Ok(routes) })
}
