//! One binary, several process roles: `VITRINA_ROLE` selects one, as a process or as a Lambda function.

use std::sync::Arc;

use shared::bus::aws::SqsDeadLetters;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{Queue, Queues};
use shared::config::Settings;
use shared::contract::listing::categories_key;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::host::Host;
use shared::http::auth::Verifier;
use shared::{clock::Clock, database, dynamodb, id::Ids};
use sync::config::{Config, ProcessRole};
use sync::{App, Listings, Reconciler, SCHEMA, router};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids) = (Clock::System, Ids::System);
    let host = Host::start(config.host, &clock, &ids)?;
    match config.process_role {
        ProcessRole::Api { auth, table, sqs } => {
            let database = database::open(&config.database, &clock).await?;
            let verifier = Verifier::new(auth, clock.clone());
            let pool = database.pool.clone();
            let dead_letters = match sqs {
                Some(queues) => {
                    DeadLetters::Sqs(SqsDeadLetters::connect(&queues, &clock, pool.clone()).await)
                }
                None => DeadLetters::Postgres(Queues::new(pool.clone(), clock.clone(), ROUTES)),
            };
            let listings = Listings::new(dynamodb::connect().await, &table);
            let app = App::new(pool, &clock, &ids, verifier.clone(), listings, dead_letters);
            host.with_database(&database).serve(router(app), Some(verifier)).await?;
        }
        ProcessRole::Reconcile { table, settings, searches_queue } => {
            let database = database::open(&config.database, &clock).await?;
            let (pool, client) = (database.pool.clone(), dynamodb::connect().await);
            let queue =
                searches_queue.then(|| Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE));
            let host = host
                .with_database(&database)
                .with_table(&client, &table, categories_key())
                .with_queues(queue.clone());
            let reconciler = Reconciler::new(pool, client, &table, clock, ids)
                .with_settings(settings)
                .with_queue(queue);
            host.work(reconciler, Arc::default()).await?;
        }
        ProcessRole::Migrate(migration) => {
            host.migrate(&config.database, &migration, &SCHEMA).await?;
        }
    }
    Ok(())
}
