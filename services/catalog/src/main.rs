//! One binary, many roles: `VITRINA_ROLE` picks what this process does.

use std::sync::Arc;

use catalog::config::{Config, Role};
use catalog::{App, Projector, router};
use shared::bus::queue::Queue;
use shared::config::Settings;
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
    match config.database {
        None => {
            let app = App::new(client, &config.table, config.currency);
            let router = host::http::dress(router(app), &clock, &ids);
            host::http::serve(host::http::bind(config.port).await?, router, stop).await?;
        }
        Some(database) => {
            debug_assert_eq!(config.role, Role::Projector);
            let queue = Queue::new(database::connect(&database)?, clock.clone(), "catalog");
            let projector = Projector::new(client, &config.table, clock.clone());
            host::intake::consume(queue, clock, &projector, Arc::default(), stop).await;
        }
    }
    telemetry.flush();
    Ok(())
}
