//! One binary, many roles: `VITRINA_ROLE` picks what this does, as a process or as a function.

use std::sync::Arc;

use shared::bus::postgres::Queue;
use shared::config::Settings;
use shared::contract::listing::categories_key;
use shared::contract::routes::CATALOG_QUEUE;
use shared::host::{Host, dead_letters};
use shared::http::auth::Verifier;
use shared::{clock::Clock, database, dynamodb, id::Ids};
use sync::config::{Config, Role};
use sync::{App, Reconciler, SCHEMA, router};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids, requested) = (Clock::System, Ids::System, Arc::default());
    let host = Host::start(config.host, &clock, &ids)?;
    match config.role {
        Role::Api { auth, dead_letters } => {
            let database = database::open(&config.database, &clock).await?;
            let verifier = Verifier::new(auth, clock.clone());
            let pool = database.pool.clone();
            let letters = dead_letters::of_sqs(dead_letters, &pool, &clock, &verifier).await;
            let app = App::new(pool, &clock, &ids, verifier.clone(), requested);
            let api = router(app).merge(letters);
            host.with_database(&database).serve(api, Some(verifier)).await?;
        }
        Role::Reconcile { table, settings, looks_into_queue } => {
            let database = database::open(&config.database, &clock).await?;
            let (pool, client) = (database.pool.clone(), dynamodb::connect().await);
            let queue =
                looks_into_queue.then(|| Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE));
            let host = host
                .with_database(&database)
                .with_table(&client, &table, categories_key())
                .with_queue(queue.as_ref());
            let reconciler = Reconciler::new(pool, client, &table, clock, ids)
                .with_settings(settings)
                .with_queue(queue);
            host.work(reconciler, requested).await?;
        }
        Role::Migrate(migration) => {
            host.migrate(&config.database, &migration, &SCHEMA).await?;
        }
    }
    Ok(())
}
