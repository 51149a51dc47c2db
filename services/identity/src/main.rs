//! One binary, several process roles: `VITRINA_ROLE` selects one, as a process or as a Lambda function.

use identity::config::{Config, ProcessRole};
use identity::{App, SCHEMA, delete_expired, router};
use shared::config::Settings;
use shared::host::Host;
use shared::{clock::Clock, database, id::Ids};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids) = (Clock::System, Ids::System);
    let host = Host::start(config.host, &clock, &ids)?;
    match config.process_role {
        ProcessRole::Api(provider) => {
            let database = database::open(&config.database, &clock).await?;
            let app = App::new(&provider, database.pool.clone(), clock, ids)?;
            let deleting = tokio::spawn(delete_expired::run(app.clone(), host.stop.clone()));
            // Most clients have no token yet, so they are limited by their address.
            host.with_database(&database).serve(router(app), None).await?;
            deleting.await?;
        }
        ProcessRole::Migrate(migration) => {
            host.migrate(&config.database, &migration, &SCHEMA).await?;
        }
    }
    Ok(())
}
