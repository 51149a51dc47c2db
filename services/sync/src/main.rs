//! One binary, many roles: `VITRINA_ROLE` picks what this process does.

use std::sync::Arc;

use shared::auth::Verifier;
use shared::bus::queue::Queue;
use shared::config::Settings;
use shared::contract::CATALOG_QUEUE;
use shared::host::health::{Health, Table};
use shared::host::process::Process;
use shared::telemetry::TelemetryConfig;
use shared::{clock::Clock, database, dynamodb, host, id::Ids, telemetry};
use sync::config::{Config, Role};
use sync::{App, MIGRATOR, Reconciler, router};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let logs = TelemetryConfig::read(&mut settings, false, "info");
    let config = settings.finish(config)?;
    let telemetry = telemetry::init(&logs)?;
    let pool = database::connect(&config.database)?;
    let (clock, ids, requested) = (Clock::System, Ids::System, Arc::default());
    let mut health = Health { postgres: Some(pool.clone()), ..Health::default() };
    let stop = host::stop_on_signal()?;
    match config.role {
        Role::Api => {
            let verifier = Verifier::new(config.auth, clock.clone());
            let app = App::new(pool, &clock, &ids, verifier.clone(), requested);
            let process = Process::new(config.process, &clock, &ids, health, &stop);
            process.serve(router(app), Some(verifier)).await?;
        }
        Role::Reconcile => {
            let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
            let client = dynamodb::connect().await;
            let table = Table { client: client.clone(), name: config.table.clone() };
            (health.dynamodb, health.queue) = (Some(table), Some(queue.clone()));
            let process = Process::new(config.process, &clock, &ids, health, &stop);
            let reconciler = Reconciler::new(pool, client, &config.table, clock, ids);
            process.run(Box::pin(reconciler.with_queue(queue).run(requested, stop))).await?;
        }
        Role::Migrate => database::migrate(&config.database.url, &[&MIGRATOR]).await?,
    }
    telemetry.flush();
    Ok(())
}
