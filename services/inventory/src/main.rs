//! One binary, three process roles: `VITRINA_ROLE` selects one, as a process or as a Lambda function.

use std::sync::Arc;

use inventory::config::{Config, ProcessRole};
use inventory::relay::Relay;
use inventory::{App, SCHEMA, router};
use shared::bus::Bus;
use shared::config::Settings;
use shared::contract::routes::ROUTES;
use shared::host::Host;
use shared::http::auth::Verifier;
use shared::outbox::publish_before_responses;
use shared::{clock::Clock, database, id::Ids};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids, committed) = (Clock::System, Ids::System, Arc::default());
    let host = Host::start(config.host, &clock, &ids)?;
    match config.process_role {
        ProcessRole::Api(auth) => {
            let database = database::open(&config.database, &clock).await?;
            let pool = database.pool.clone();
            let verifier = Verifier::new(auth, clock.clone());
            let app = App::new(pool.clone(), &clock, &ids, verifier.clone(), committed);
            let mut api = router(app);
            if host.is_function() {
                let bus = Bus::connect(&config.bus, &pool, &clock, ROUTES).await;
                let relay = Relay::new(pool, bus, clock, ids).into_events();
                api = publish_before_responses(api, relay);
            }
            host.with_database(&database).serve(api, Some(verifier)).await?;
        }
        ProcessRole::Relay => {
            let database = database::open(&config.database, &clock).await?;
            let bus = Bus::connect(&config.bus, &database.pool, &clock, ROUTES).await;
            let relay = Relay::new(database.pool.clone(), bus, clock, ids);
            host.with_database(&database).work(relay, committed).await?;
        }
        ProcessRole::Migrate(migration) => {
            host.migrate(&config.database, &migration, &SCHEMA).await?;
        }
    }
    Ok(())
}
