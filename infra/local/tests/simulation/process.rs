//! A simulated process: all parts of an edition on its own thread, which can be killed at any moment
//! with everything that it does.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use catalog::Projector;
use inventory::relay::Relay;
use shared::bus::postgres::{PgBus, Queue};
use shared::clock::Clock;
use shared::contract::routes::ROUTES;
use shared::database;
use shared::failpoint;
use shared::host;
use shared::id::Ids;
use sqlx::PgPool;
use sync::{Reconciler, Settings};
use testkit::FaultyBus;
use testkit::{DynamoFault, Faults, FaultyPostgres, Tokens};
use testkit::{faulty_dynamodb, faulty_postgres, patient_config};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task;

use crate::operation::{Done, Operation};
use crate::points::{OPERATION, Points, Stopped};

pub(crate) const TABLE: &str = "listings";
pub(crate) const QUEUE: &str = "catalog";

/// What all processes share.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) database: String,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) tokens: Tokens,
    pub(crate) bus: FaultyBus,
}

/// The parts of a process, put together as an edition does.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    pub(crate) relay: Relay<FaultyBus>,
    pub(crate) queue: Queue,
    pub(crate) projector: Projector,
    pub(crate) reconciler: Reconciler,
}

pub(crate) struct Process {
    pub(crate) points: Arc<Points>,
    pub(crate) stopped: mpsc::UnboundedReceiver<Stopped>,
    pub(crate) postgres: FaultyPostgres,
    pub(crate) dynamodb: Faults<DynamoFault>,
    parts: Parts,
    runtime: Handle,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Process {
    pub(crate) async fn start(env: &Environment) -> Self {
        let postgres = faulty_postgres(&env.database).await;
        let dynamodb = Faults::default();
        let (points, stopped) = Points::new();
        let points = Arc::new(points);
        let (ready, started) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let (control, url) = (Arc::clone(&points), postgres.url.clone());
        let (env, faults) = (env.clone(), dynamodb.clone());
        let thread = std::thread::spawn(move || {
            failpoint::install(control);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let parts = Parts::new(&env, url, &faults);
                let _ = ready.send((Handle::current(), parts));
                // An error means that the simulation was dropped, which also ends the process.
                let _ = ended.await;
            });
            // Drops all tasks at their current await point.
            runtime.shutdown_background();
        });
        let (runtime, parts) = started.await.unwrap();
        Self { points, stopped, postgres, dynamodb, parts, runtime, end, thread }
    }

    pub(crate) fn begin(&self, id: u64, operation: Operation) -> task::JoinHandle<Done> {
        let parts = self.parts.clone();
        self.runtime.spawn(OPERATION.scope(id, async move { operation.perform(&parts).await }))
    }

    /// Ends it as SIGKILL does: nothing is flushed or handed back.
    pub(crate) fn kill(self) {
        let Self { end, thread, parts, postgres, .. } = self;
        let _ = end.send(());
        thread.join().unwrap();
        // Dropping these closes its connections.
        drop(parts);
        drop(postgres);
    }
}

impl Parts {
    fn new(env: &Environment, url: String, faults: &Faults<DynamoFault>) -> Self {
        let Environment { clock, ids, tokens, bus, dynamodb, .. } = env.clone();
        let pool = database::connect(&patient_config(url, 8)).unwrap();
        let client = faulty_dynamodb(&dynamodb, faults);
        let inventory =
            inventory::App::new(pool.clone(), &clock, &ids, tokens.verifier(), Arc::default());
        let catalogue = catalog::App::new(client.clone(), TABLE, "BRL".parse().unwrap());
        let router = inventory::router(inventory).merge(catalog::router(catalogue));
        let router = host::server::with_standard_layers(router, &clock, &ids);
        let pg_bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
        let bus = bus.through(pg_bus);
        // Real time: a relay that gives up is one of the failures that it survives.
        let relay = Relay::new(pool.clone(), bus, clock.clone(), ids.clone());
        let queue = Queue::new(pool.clone(), clock.clone(), QUEUE);
        let projector = Projector::new(client.clone(), TABLE, clock.clone());
        let reconciler = Reconciler::new(pool.clone(), client, TABLE, clock.clone(), ids)
            .with_queue(queue.clone())
            .with_settings(Settings {
                // The seed schedules every change, so there is nothing to wait for.
                grace: Duration::ZERO,
                max_wait: Duration::ZERO,
                lease: Duration::from_mins(1),
                page: 3,
                // One bucket at a time: concurrent work within an operation would have no fixed order.
                concurrency: 1,
                slice: 1,
                pause: Duration::from_secs(1),
                deep_every: Duration::from_mins(10),
            });
        Self { pool, clock, router, relay, queue, projector, reconciler }
    }
}
