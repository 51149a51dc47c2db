//! One binary, many roles: `VITRINA_ROLE` picks what this process does.

use std::sync::Arc;

use inventory::config::{Config, Role};
use inventory::relay::Relay;
use inventory::{App, MIGRATOR, router};
use shared::auth::Verifier;
use shared::bus::{self, Bus, PgBus};
use shared::config::Settings;
use shared::contract::CATALOG_QUEUE;
use shared::host::health::Health;
use shared::host::process::Process;
use shared::telemetry::TelemetryConfig;
use shared::{clock::Clock, database, host, id::Ids, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let logs = TelemetryConfig::read(&mut settings, false, "info");
    let config = settings.finish(config)?;
    let telemetry = telemetry::init(&logs)?;
    let pool = database::connect(&config.database)?;
    let (clock, ids, committed) = (Clock::System, Ids::System, Arc::default());
    let health = Health { postgres: Some(pool.clone()), ..Health::default() };
    let stop = host::stop_on_signal()?;
    let process = Process::new(config.process, &clock, &ids, health, &stop);
    match config.role {
        Role::Api => {
            let verifier = Verifier::new(config.auth, clock.clone());
            let app = App::new(pool, &clock, &ids, verifier.clone(), committed);
            process.serve(router(app), Some(verifier)).await?;
        }
        Role::Relay => {
            let bus = PgBus::new(pool.clone(), clock.clone(), &[CATALOG_QUEUE], Arc::default());
            let relay = Relay::new(pool, Bus::Postgres(bus), clock, ids);
            process.run(Box::pin(relay.run(committed, stop))).await?;
        }
        Role::Migrate => {
            database::migrate(&config.database.url, &[&bus::MIGRATOR, &MIGRATOR]).await?;
        }
    }
    telemetry.flush();
    Ok(())
}
