//! One binary, several process roles: `VITRINA_ROLE` selects one, as a process or as a Lambda function.

use catalog::config::{Config, Feed, ProcessRole};
use catalog::pages::KEPT_FOR;
use catalog::{App, Projector, SCHEMA, probe_key, router};
use shared::bus::aws::SqsQueue;
use shared::bus::postgres::Queue;
use shared::config::Settings;
use shared::contract::routes::CATALOG_QUEUE;
use shared::host::{Host, Source};
use shared::http::docs;
use shared::{clock::Clock, database, dynamodb, id::Ids};

/// The OpenAPI document of the whole product. The catalogue's API is the public one and needs no
/// database, so it serves the documentation of a stage.
const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids) = (Clock::System, Ids::System);
    let host = Host::start(config.host, &clock, &ids)?;
    match config.process_role {
        ProcessRole::Api { table, currency } => {
            let client = dynamodb::connect().await;
            let host = host.with_table(&client, &table, probe_key());
            let app = App::new(client, &table, currency).with_kept_pages(KEPT_FOR);
            let api = router(app).merge(docs::stage_pages(OPENAPI));
            host.serve(api, None).await?;
        }
        ProcessRole::Projector { table, feed } => {
            let client = dynamodb::connect().await;
            let host = host.with_table(&client, &table, probe_key());
            let projector = Projector::new(client, &table, clock.clone());
            match feed {
                Feed::Table(database) => {
                    let database = database::open(&database, &clock).await?;
                    let queue = Queue::new(database.pool.clone(), clock, CATALOG_QUEUE);
                    let host = host.with_database(&database).with_queues([queue.clone()]);
                    host.consume(Source::Table(queue), &projector).await?;
                }
                Feed::Sqs(queue) => {
                    let queue = SqsQueue::connect(&queue, &clock).await;
                    host.consume(Source::Sqs(queue), &projector).await?;
                }
            }
        }
        ProcessRole::Migrate { database, migration } => {
            host.migrate(&database, &migration, &SCHEMA).await?;
        }
    }
    Ok(())
}
