//! Each message of a batch gets its own outcome. In every batch the outcomes differ from those in the
//! reverse order, so that a result in the place of another one is seen.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::bus;
use shared::bus::aws::{SqsConfig, SqsDeadLetters};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{PgBus, Queue};
use shared::bus::selection::{Action, Selection};
use shared::bus::{Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::ROUTES;
use shared::host::intake::{self, Failure};
use shared::id::{EventId, UserId};
use testkit::{FakeAws, FakeResponse, database};
use uuid::Uuid;

use crate::handlers::{ByPosition, inventory_event};
use crate::sqs_consumer::{self, DEAD, QUEUE, calls, failures, invocation, invoke};

/// The first two succeed, 3 and 7 fail with their own reasons, 5 finds no store.
fn decide(position: i64) -> Result<(), Failure> {
    match position {
        3 | 7 => Err(Failure::Failed(format!("{position} cannot be"))),
        5 => Err(Failure::Unavailable("no store".to_owned())),
        _ => Ok(()),
    }
}

/// Bodies of messages; the third one cannot be read.
fn bodies() -> Vec<String> {
    let mut bodies: Vec<String> =
        [1, 3, 2, 5, 7, 4].map(|position| inventory_event(position).to_string()).to_vec();
    bodies.insert(2, "no event".to_owned());
    bodies
}

/// As the response to a batch, with the entries in the reverse order: their ids tell which is which.
fn reversed(sent: &Value, refuse: impl Fn(&Value) -> bool) -> FakeResponse {
    let FakeResponse::Success(mut response) = sqs_consumer::response(sent, refuse) else {
        unreachable!()
    };
    for list in ["Successful", "Failed"] {
        response[list].as_array_mut().unwrap().reverse();
    }
    FakeResponse::Success(response)
}

#[tokio::test]
async fn each_message_of_an_invocation_has_its_own_outcome() {
    let aws = FakeAws::start(|_, sent| reversed(sent, |_| false)).await;
    let bodies = bodies();
    let bodies: Vec<&str> = bodies.iter().map(|body| &**body).collect();
    let handler = ByPosition::new(decide);
    let response = invoke(&aws, &handler, invocation(&bodies, 1)).await;
    let mut again: Vec<&str> = response["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["itemIdentifier"].as_str().unwrap())
        .collect();
    again.sort_unstable();
    assert_eq!(again, ["message 1", "message 4", "message 5"]);
    let mut receipts: Vec<String> = calls(&aws, "ChangeMessageVisibilityBatch")
        .iter()
        .flat_map(|call| call["Entries"].as_array().unwrap())
        .map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned())
        .collect();
    receipts.sort_unstable();
    assert_eq!(receipts, ["receipt 1", "receipt 4", "receipt 5"]);
    let sent = calls(&aws, "SendMessageBatch");
    assert_eq!((sent.len(), &sent[0]["QueueUrl"]), (1, &json!(DEAD)));
    let entries = sent[0]["Entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["MessageBody"]), (1, &json!("no event")));
}

#[tokio::test]
async fn each_dead_letter_of_a_batch_is_refused_by_its_own_id() {
    let bodies = ["one", "two", "three", "four", "five"];
    for refused in [&["0"][..], &["1"], &["4"], &["0", "3"]] {
        let refuse = move |entry: &Value| refused.contains(&entry["Id"].as_str().unwrap());
        let aws = FakeAws::start(move |_, sent| reversed(sent, refuse)).await;
        let handler = ByPosition::new(|_| Ok(()));
        let response = invoke(&aws, &handler, invocation(&bodies, 1)).await;
        let again: Vec<String> = refused.iter().map(|id| format!("message {id}")).collect();
        let again: Vec<&str> = again.iter().map(|id| &**id).collect();
        assert_eq!(response, failures(&again));
        let sent = calls(&aws, "SendMessageBatch");
        let ids: Vec<(&str, &str)> = sent[0]["Entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["Id"].as_str().unwrap(), it["MessageBody"].as_str().unwrap()))
            .collect();
        let own: Vec<(&str, &str)> = ["0", "1", "2", "3", "4"].into_iter().zip(bodies).collect();
        assert_eq!(ids, own);
        assert_ne!(sent[0]["QueueUrl"], QUEUE);
    }
}

/// A queue with messages of these bodies, whose ids are 1, 2, ..
async fn queue_of(bodies: &[String], clock: &Clock) -> (Queue, testkit::TestDatabase) {
    let database = database(&[&bus::MIGRATOR]).await;
    let bus = PgBus::new(database.pool.clone(), clock.clone(), ROUTES);
    let events = (1..).zip(bodies).map(|(nth, body)| Outbound {
        event_id: EventId::from_u128(nth),
        source: Event::SOURCE,
        event_type: "ProductUpdated",
        subject: Uuid::from_u128(nth),
        body: body.clone(),
    });
    for taken in bus.publish(&events.collect::<Vec<_>>()).await.unwrap() {
        taken.unwrap();
    }
    (Queue::new(database.pool.clone(), clock.clone(), "catalog"), database)
}

fn clock() -> Clock {
    Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_outcome() {
    let clock = clock();
    let (queue, database) = queue_of(&bodies(), &clock).await;
    intake::once(&queue, &clock, &ByPosition::new(decide)).await.unwrap();
    let left: Vec<(Uuid, String, DateTime<Utc>, i32)> = sqlx::query_as(
        "select subject, last_failure, visible_at, attempts from bus.messages order by subject",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    let waits = |nth, reason: &str, milliseconds, attempts| {
        let visible_at = clock.now() + TimeDelta::milliseconds(milliseconds);
        (Uuid::from_u128(nth), reason.to_owned(), visible_at, attempts)
    };
    let expected = [
        waits(2, "3 cannot be", 200, 1),
        waits(5, "no store", 1_000, 0),
        waits(6, "7 cannot be", 200, 1),
    ];
    assert_eq!(left.len(), 3);
    for (found, expected) in left.iter().zip(&expected) {
        assert_eq!((found.0, found.2, found.3), (expected.0, expected.2, expected.3));
        assert!(found.1.contains(&expected.1), "{found:?}");
    }
    let dead: Vec<(Uuid, String)> = sqlx::query_as("select subject, body from bus.dead_letters")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    assert_eq!(dead, [(Uuid::from_u128(3), "no event".to_owned())]);
}

#[tokio::test]
async fn each_dead_letter_of_a_batch_has_its_own_reason() {
    let clock = clock();
    let (queue, database) = queue_of(&bodies(), &clock).await;
    for _ in 0..5 {
        intake::once(&queue, &clock, &ByPosition::new(decide)).await.unwrap();
        clock.advance(Duration::from_mins(1));
    }
    let dead: Vec<(Uuid, String, i32)> =
        sqlx::query_as("select subject, reason, attempts from bus.dead_letters order by subject")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    assert_eq!(dead.len(), 3, "{dead:?}");
    let expected = [(2, "3 cannot be", 5), (3, "unreadable", 1), (6, "7 cannot be", 5)];
    for ((subject, reason, attempts), expected) in dead.iter().zip(expected) {
        assert_eq!((*subject, *attempts), (Uuid::from_u128(expected.0), expected.2));
        assert!(reason.contains(expected.1), "{reason}");
    }
}

#[tokio::test]
async fn messages_that_wait_longest_are_received_first() {
    let clock = clock();
    let bodies: Vec<String> =
        (1..=6).map(|position| inventory_event(position).to_string()).collect();
    let (queue, database) = queue_of(&bodies, &clock).await;
    // Since when each may be received, in seconds before now.
    for (nth, ago) in (1..).zip([10, 50, 20, 60, 30, 40]) {
        sqlx::query("update bus.messages set visible_at = $2 where subject = $1")
            .bind(Uuid::from_u128(nth))
            .bind(clock.now() - TimeDelta::seconds(ago))
            .execute(&database.pool)
            .await
            .unwrap();
    }
    // Within a batch they are in the order in which they were sent.
    for (max, expected) in [(2, vec![2, 4]), (1, vec![6]), (2, vec![3, 5]), (5, vec![1])] {
        let received = queue.receive(max).await.unwrap();
        let positions: Vec<i64> = received
            .iter()
            .map(|message| {
                let event: Value = serde_json::from_str(&message.body).unwrap();
                event["position"].as_i64().unwrap()
            })
            .collect();
        assert_eq!(positions, expected, "{max} at once");
    }
}

/// Five dead letters in SQS, the oldest first: the answer to a request to receive messages.
fn dead_letters_in_sqs() -> Value {
    let messages = (0..5).map(|nth| {
        json!({
            "MessageId": format!("message {nth}"), "ReceiptHandle": format!("receipt {nth}"),
            "Body": inventory_event(nth).to_string(),
            "Attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": (1_800_000_000_000_i64 + nth).to_string(),
            },
        })
    });
    json!({ "Messages": messages.collect::<Vec<_>>() })
}

fn receipts(calls: &[Value]) -> Vec<&str> {
    let entries = calls.iter().flat_map(|call| call["Entries"].as_array().unwrap());
    entries.map(|entry| entry["ReceiptHandle"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_redriven_dead_letter_is_settled_by_its_own_result() {
    let database = database(&[&bus::MIGRATOR]).await;
    let mut unread = Some(dead_letters_in_sqs());
    // SQS refuses to take 0 and 3 again, and then to delete the first of the others.
    let aws = FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" => FakeResponse::Success(unread.take().unwrap_or_else(|| json!({}))),
        "SendMessageBatch" => reversed(sent, |entry| entry["Id"] == "0" || entry["Id"] == "3"),
        "DeleteMessageBatch" => reversed(sent, |entry| entry["Id"] == "0"),
        _ => reversed(sent, |_| false),
    })
    .await;
    let config = SqsConfig { queue: QUEUE.to_owned(), dead_letters: DEAD.to_owned() };
    let (clock, pool) = (clock(), database.pool.clone());
    let queues = vec![("catalog", config)];
    let letters =
        DeadLetters::Sqs(SqsDeadLetters::new(&aws.environment(), &clock, &queues, pool.clone()));
    let (all, actor) = (Selection::default(), UserId::from_u128(9));
    let settled = letters.settle(&all, None, Action::Redrive, actor, clock.now()).await;
    assert_eq!(settled.unwrap(), 2);
    let sent = calls(&aws, "SendMessageBatch");
    assert_eq!((sent.len(), &sent[0]["QueueUrl"]), (1, &json!(QUEUE)));
    let deleted = calls(&aws, "DeleteMessageBatch");
    assert_eq!(receipts(&deleted), ["receipt 1", "receipt 2", "receipt 4"]);
    let released = calls(&aws, "ChangeMessageVisibilityBatch");
    let mut released = receipts(&released);
    released.sort_unstable();
    assert_eq!(released, ["receipt 0", "receipt 1", "receipt 3"]);
    // Those that were sent again are audited, each under its own id.
    let audited: Vec<i64> =
        sqlx::query_scalar("select dead_letter_id >> 21 from bus.dead_letter_audit order by 1")
            .fetch_all(&pool)
            .await
            .unwrap();
    let first: i64 = 1_800_000_000_000;
    assert_eq!(audited, [first + 1, first + 2, first + 4]);
}
