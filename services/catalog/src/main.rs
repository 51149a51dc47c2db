//! One binary, many roles: `VITRINA_ROLE` picks what this does, as a process or as a function.

use catalog::config::{Config, Feed, Role};
use catalog::pages::KEPT_FOR;
use catalog::{App, Projector, router};
use shared::bus::queue::Queue;
use shared::bus::sqs::SqsQueue;
use shared::config::Settings;
use shared::contract::CATALOG_QUEUE;
use shared::host::{Host, Source};
use shared::{clock::Clock, database, docs, dynamodb, id::Ids};

/// The OpenAPI document of the whole product. The catalogue's API is the public one and needs no
/// database, so it serves the documentation of a stage.
const OPENAPI: &str = include_str!("../../../infra/local/api/openapi.json");

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut settings = Settings::from_env();
    let config = Config::read(&mut settings);
    let config = settings.finish(config)?;
    let (clock, ids) = (Clock::System, Ids::System);
    let host = Host::start(config.host, &clock, &ids)?;
    let client = dynamodb::connect().await;
    let host = host.on_table(&client, &config.table);
    match config.role {
        Role::Api { currency } => {
            let app = App::new(client, &config.table, currency).with_kept_pages(KEPT_FOR);
            let api = router(app).merge(docs::stage_pages(OPENAPI));
            host.serve(api, None).await?;
        }
        Role::Projector(Feed::Table(table)) => {
            let database = database::open(&table, &clock).await?;
            let queue = Queue::new(database.pool.clone(), clock.clone(), CATALOG_QUEUE);
            let projector = Projector::new(client, &config.table, clock);
            let host = host.on_database(&database).beside(Some(&queue));
            host.consume(Source::Table(queue), &projector).await?;
        }
        Role::Projector(Feed::Sqs(queue)) => {
            let queue = SqsQueue::connect(&queue, &clock).await;
            let projector = Projector::new(client, &config.table, clock);
            host.consume(Source::Sqs(queue), &projector).await?;
        }
    }
    Ok(())
}
