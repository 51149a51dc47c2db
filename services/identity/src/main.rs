//! One binary, many roles: `VITRINA_ROLE` picks what this process does.

use identity::config::{Config, Role};
use identity::{App, MIGRATOR, router, tidy};
use shared::config::Settings;
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
    let (clock, ids) = (Clock::System, Ids::System);
    let health = Health { postgres: Some(pool.clone()), ..Health::default() };
    let stop = host::stop_on_signal()?;
    match config.role {
        Role::Api => {
            let app = App::new(&config.provider, pool, clock.clone(), ids.clone())?;
            let tidying = tokio::spawn(tidy::run(app.clone(), stop.clone()));
            // Most callers have no token yet.
            let process = Process::new(config.process, &clock, &ids, health, &stop);
            process.serve(router(app), None).await?;
            tidying.await?;
        }
        Role::Migrate => database::migrate(&config.database.url, &[&MIGRATOR]).await?,
    }
    telemetry.flush();
    Ok(())
}
