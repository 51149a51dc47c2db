//! The times and attributes that requests to SQS carry. SQS keeps the times, so no clock of ours shows
//! them.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use shared::bus;
use shared::bus::aws::{SqsConfig, SqsDeadLetters, SqsMessage, SqsQueue};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::message::Outcome;
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

#[tokio::test]
async fn every_attribute_of_a_dead_letter_is_read_back() {
    let aws = FakeAws::start(|_, sent| {
        let sent = sent["Entries"].as_array().unwrap().iter();
        let sent =
            sent.map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"}));
        FakeResponse::Success(json!({"Successful": sent.collect::<Vec<_>>(), "Failed": []}))
    })
    .await;
    let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let queue = SqsQueue::new(&aws.environment(), clock.clone(), &config());
    let message = SqsMessage {
        id: "m".to_owned(),
        receipt: "r".to_owned(),
        body: "the body".to_owned(),
        sent_at: clock.now() - Duration::from_mins(1),
        attempts: 3,
    };
    let dead = Outcome::Dead { reason: "it cannot be".to_owned() };
    let settled = queue.settle(vec![(message.clone(), dead)]).await;
    assert_eq!((settled.done, settled.again), (vec![message], vec![]));
    let calls = aws.calls();
    let [(operation, sent)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((operation.as_str(), &sent["QueueUrl"]), ("SendMessageBatch", &json!(DEAD)));
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let entry = &sent["Entries"][0];
    assert_eq!(entry["MessageBody"], "the body");
    assert_eq!(
        entry["MessageAttributes"],
        json!({
            "reason": text("it cannot be"), "attempts": text("3"),
            "sent_at": text("2027-01-15T07:59:00+00:00"), "dead_at": text("2027-01-15T08:00:00+00:00"),
        })
    );
}
