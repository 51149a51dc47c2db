//! The times that requests to SQS carry. SQS keeps them, so no clock of ours can show them.

use serde_json::{Value, json};
use shared::bus;
use shared::bus::aws::{SqsConfig, SqsDeadLetters, SqsQueue};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::selection::Selection;
use shared::clock::Clock;
use shared::contract::routes::CATALOG_QUEUE;
use testkit::{FakeAws, FakeResponse, database};

const QUEUE: &str = "http://127.0.0.1/1/catalog";
const DEAD: &str = "http://127.0.0.1/1/catalog-dead";

fn config() -> SqsConfig {
    SqsConfig { queue: QUEUE.to_owned(), dead_letters: DEAD.to_owned() }
}

async fn empty() -> FakeAws {
    FakeAws::start(|_, _| FakeResponse::Success(json!({"Messages": []}))).await
}

/// The times of the only request, a receive.
fn times(aws: &FakeAws) -> (Value, i64, i64, i64) {
    let calls = aws.calls();
    let [(operation, sent)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(operation, "ReceiveMessage");
    let number = |name: &str| sent[name].as_i64().unwrap();
    let url = sent["QueueUrl"].clone();
    (url, number("VisibilityTimeout"), number("WaitTimeSeconds"), number("MaxNumberOfMessages"))
}

#[tokio::test]
async fn consumer_hides_messages_for_thirty_seconds() {
    let aws = empty().await;
    let queue = SqsQueue::new(&aws.environment(), Clock::System, &config());
    assert!(queue.receive().await.unwrap().is_empty());
    assert_eq!(times(&aws), (json!(QUEUE), 30, 20, 10));
}

#[tokio::test]
async fn reader_of_dead_letters_hides_them_for_a_minute() {
    let (aws, database) = (empty().await, database(&[&bus::MIGRATOR]).await);
    let queues = vec![(CATALOG_QUEUE, config())];
    let dead =
        SqsDeadLetters::new(&aws.environment(), &Clock::System, &queues, database.pool.clone());
    let listed = DeadLetters::Sqs(dead).list(&Selection::default(), 0, 10).await.unwrap();
    assert!(listed.is_empty());
    assert_eq!(times(&aws), (json!(DEAD), 60, 1, 10));
}
