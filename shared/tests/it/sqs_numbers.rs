//! The numbers of queues and dead letters on SQS that operators see, each with its value.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::bus::aws::{SqsConfig, SqsDeadLetters, SqsQueue};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::message::QueueDepth;
use shared::bus::selection::{DeadLetter, Selection};
use shared::clock::Clock;
use shared::contract::inventory::Event;
use shared::contract::routes::CATALOG_QUEUE;
use shared::host::intake::{Delivery, Failure, Handler};
use shared::host::{metrics_recorder, sqs_intake};
use sqlx::PgPool;
use testkit::{FakeAws, FakeResponse};

use crate::handlers::GOLDEN;

const QUEUE: &str = "http://127.0.0.1/1/catalog";
const DEAD: &str = "http://127.0.0.1/1/catalog-dead";

/// When the messages were sent, in milliseconds.
const SENT: i64 = 1_800_000_000_000;

fn sent_at() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(SENT).unwrap()
}

fn config() -> SqsConfig {
    SqsConfig { queue: QUEUE.to_owned(), dead_letters: DEAD.to_owned() }
}

/// Dead letters as the API of operators reads them; nothing here asks PostgreSQL.
fn dead_letters(aws: &FakeAws) -> DeadLetters {
    let pool = PgPool::connect_lazy("postgres://user@127.0.0.1:1/nothing").unwrap();
    let queues = vec![(CATALOG_QUEUE, config())];
    DeadLetters::Sqs(SqsDeadLetters::new(&aws.environment(), &Clock::System, &queues, pool))
}

struct Failing;

impl Handler for Failing {
    type Event = Event;

    const SPAN: &'static str = "failing";

    async fn handle(&self, deliveries: &[Delivery<Event>]) -> Vec<Result<(), Failure>> {
        deliveries.iter().map(|_| Err(Failure::Failed("it cannot be".to_owned()))).collect()
    }
}

/// Every entry of a batch succeeds but the one with this id.
fn respond(sent: &Value, refused: &str) -> FakeResponse {
    let entries = sent["Entries"].as_array().unwrap().iter();
    let (failed, successful): (Vec<_>, Vec<_>) = entries.partition(|entry| entry["Id"] == refused);
    let failed = failed
        .iter()
        .map(|entry| json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}));
    let successful = successful
        .iter()
        .map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"}));
    FakeResponse::Success(json!({
        "Successful": successful.collect::<Vec<_>>(), "Failed": failed.collect::<Vec<_>>(),
    }))
}

/// The dead letters that the consumer sends for `count` messages in their last attempt. SQS refuses
/// the one with the id `refused`.
async fn send_dead_letters(count: usize, refused: &'static str) -> Vec<Value> {
    let aws = FakeAws::start(move |_, sent| respond(sent, refused)).await;
    let died = Clock::fixed(sent_at() + TimeDelta::seconds(90));
    let queue = SqsQueue::new(&aws.environment(), died.clone(), &config());
    let records = (0..count).map(|nth| {
        json!({
            "messageId": format!("message {nth}"), "receiptHandle": format!("receipt {nth}"),
            "body": GOLDEN, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "messageAttributes": {}, "md5OfBody": "", "eventSourceARN": "arn:aws:sqs:x:1:catalog",
            "attributes": {"ApproximateReceiveCount": "5", "SentTimestamp": SENT.to_string()},
        })
    });
    let records = records.collect::<Vec<_>>();
    let invocation = serde_json::from_value(json!({ "Records": records })).unwrap();
    sqs_intake::handle_invocation(&queue, &died, &Failing, invocation).await;
    let sent = aws.calls().into_iter().filter(|(operation, _)| operation == "SendMessageBatch");
    sent.flat_map(|(_, sent)| sent["Entries"].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn dead_letters_accepted_by_sqs_are_counted() {
    let recorder = metrics_recorder::build();
    let _recording = metrics::set_default_local_recorder(&recorder);
    assert_eq!(send_dead_letters(4, "1").await.len(), 4);
    let page = recorder.handle().render();
    assert!(page.lines().any(|line| line == "vitrina_events_buried_total 3"), "{page}");
}

#[tokio::test]
async fn dead_letter_on_sqs_is_listed_with_the_times_of_its_message() {
    let entry = send_dead_letters(1, "none").await.remove(0);
    // SQS dates and counts the dead letter itself, too.
    let later = SENT + 100_000;
    let message = json!({
        "MessageId": "m", "ReceiptHandle": "r", "Body": entry["MessageBody"], "MD5OfBody": "x",
        "Attributes": {"ApproximateReceiveCount": "2", "SentTimestamp": later.to_string()},
        "MessageAttributes": entry["MessageAttributes"],
    });
    let mut left = vec![message];
    let aws = FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" => FakeResponse::Success(json!({"Messages": std::mem::take(&mut left)})),
        _ => respond(sent, "none"),
    })
    .await;
    let found = dead_letters(&aws).list(&Selection::default(), 0, 10).await.unwrap();
    let event: Value = serde_json::from_str(GOLDEN).unwrap();
    let text = |name: &str| event[name].as_str().unwrap();
    let expected = DeadLetter {
        id: found[0].id,
        queue: "catalog".to_owned(),
        event_id: text("id").parse().unwrap(),
        event_type: "ProductUpdated".to_owned(),
        subject: text("subject").parse().unwrap(),
        reason: "it cannot be".to_owned(),
        attempts: 5,
        sent_at: sent_at(),
        dead_at: sent_at() + TimeDelta::seconds(90),
    };
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn depth_of_a_queue_on_sqs_sums_each_kind_of_message() {
    let aws = FakeAws::start(|_, sent| {
        let [visible, in_flight, delayed] =
            if sent["QueueUrl"] == QUEUE { [5, 4, 2] } else { [7, 11, 13] };
        FakeResponse::Success(json!({"Attributes": {
            "ApproximateNumberOfMessages": visible.to_string(),
            "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
            "ApproximateNumberOfMessagesDelayed": delayed.to_string(),
        }}))
    })
    .await;
    let expected = QueueDepth {
        queue: "catalog".to_owned(),
        visible: 5,
        in_flight: 6,
        dead_letters: 31,
        oldest_sent_at: None,
    };
    assert_eq!(dead_letters(&aws).depths().await.unwrap(), [expected]);
}
