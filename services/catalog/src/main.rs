//! One binary, many roles: `VITRINA_ROLE` picks what this process does.

use std::sync::Arc;

use catalog::config::{Config, Role};
use catalog::pages::KEPT_FOR;
use catalog::{App, Projector, router};
use shared::bus::queue::Queue;
use shared::config::Settings;
use shared::contract::CATALOG_QUEUE;
use shared::host::health::{Health, Table};
use shared::host::process::Process;
use shared::telemetry::TelemetryConfig;
use shared::{clock::Clock, database, dynamodb, host, id::Ids, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let logs = TelemetryConfig::read(&mut settings, false, "info");
    let config = settings.finish(config)?;
    let telemetry = telemetry::init(&logs)?;
    let (clock, ids) = (Clock::System, Ids::System);
    let client = dynamodb::connect().await;
    let stop = host::stop_on_signal()?;
    let table = Table { client: client.clone(), name: config.table.clone() };
    let mut health = Health { dynamodb: Some(table), ..Health::default() };
    match config.database {
        None => {
            let app = App::new(client, &config.table, config.currency).with_kept_pages(KEPT_FOR);
            let process = Process::new(config.process, &clock, &ids, health, &stop);
            process.serve(router(app), None).await?;
        }
        Some(database) => {
            debug_assert_eq!(config.role, Role::Projector);
            let pool = database::connect(&database)?;
            let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
            (health.postgres, health.queue) = (Some(pool), Some(queue.clone()));
            let process = Process::new(config.process, &clock, &ids, health, &stop);
            let projector = Projector::new(client, &config.table, clock.clone());
            let work = host::intake::consume(queue, clock, &projector, Arc::default(), stop);
            process.run(work).await?;
        }
    }
    telemetry.flush();
    Ok(())
}
