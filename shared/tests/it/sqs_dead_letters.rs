//! What operators do with dead letters on SQS: which letters it concerns, in which order, and what stays
//! when a part of it fails.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::bus;
use shared::bus::aws::{SqsConfig, SqsDeadLetters};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::selection::{Action, DeadLetter, DeadLettersError, Selection};
use shared::clock::Clock;
use shared::id::UserId;
use sqlx::PgPool;
use testkit::{FakeAws, FakeResponse, database};
use uuid::Uuid;

use crate::handlers::GOLDEN;
use crate::sqs_consumer::{DEAD, QUEUE, calls, response, timings};

const OTHER_QUEUE: &str = "http://127.0.0.1/1/parcels";
const OTHER_DEAD: &str = "http://127.0.0.1/1/parcels-dead";

const OPERATOR: UserId = UserId::from_u128(9);

/// When the first letter was sent, in milliseconds; each further one a millisecond later.
const SENT: i64 = 1_800_000_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(SENT).unwrap() + TimeDelta::seconds(seconds)
}

fn letters(aws: &FakeAws, pool: &PgPool) -> DeadLetters {
    let config = |queue: &str, dead: &str| SqsConfig {
        queue: queue.to_owned(),
        dead_letters: dead.to_owned(),
    };
    let queues =
        vec![("catalog", config(QUEUE, DEAD)), ("parcels", config(OTHER_QUEUE, OTHER_DEAD))];
    let letters = SqsDeadLetters::new(&aws.environment(), &Clock::System, &queues, pool.clone());
    DeadLetters::Sqs(letters.with_timings(timings()))
}

/// A letter as SQS itself moves it, without attributes of its consumer.
fn letter(nth: i64, body: &str) -> Value {
    json!({
        "MessageId": format!("message {nth}"), "ReceiptHandle": format!("receipt {nth}"), "Body": body,
        "Attributes": {
            "ApproximateReceiveCount": "5", "SentTimestamp": (SENT + nth).to_string(),
        },
    })
}

const TYPES: [&str; 2] = ["ProductCreated", "ProductUpdated"];

/// The type, the subject and the death of a letter: those of its number in binary.
fn parts(nth: i64) -> (&'static str, Uuid, DateTime<Utc>) {
    let kind = if nth & 1 == 0 { TYPES[0] } else { TYPES[1] };
    let subject = Uuid::from_u128(if nth & 2 == 0 { 1 } else { 2 });
    (kind, subject, at(if nth & 4 == 0 { 100 } else { 200 }))
}

/// One letter with each combination of type, subject and death.
fn each_combination() -> Value {
    let letters = (0..8).map(|nth| {
        let (kind, subject, dead_at) = parts(nth);
        let body = json!({"id": Uuid::from_u128(7), "type": kind, "subject": subject});
        let mut letter = letter(nth, &body.to_string());
        let text = |value: &str| json!({"DataType": "String", "StringValue": value});
        letter["MessageAttributes"] =
            json!({"reason": text("refused"), "dead_at": text(&dead_at.to_rfc3339())});
        letter
    });
    json!({"Messages": letters.collect::<Vec<_>>()})
}

/// A queue whose letters are received again and again: all of them, then none. That of the other queue is
/// empty.
fn receive(messages: Value) -> impl FnMut(&Value) -> FakeResponse + Send {
    let mut is_received = true;
    move |sent| {
        if sent["QueueUrl"] != DEAD {
            return FakeResponse::Success(json!({}));
        }
        is_received = !is_received;
        FakeResponse::Success(if is_received { json!({}) } else { messages.clone() })
    }
}

/// The numbers in the receipts of batches.
fn receipts(calls: &[Value]) -> BTreeSet<i64> {
    let entries = calls.iter().flat_map(|call| call["Entries"].as_array().unwrap());
    let receipts = entries.map(|entry| entry["ReceiptHandle"].as_str().unwrap());
    receipts.map(|receipt| receipt.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// The receipts that were made visible at once.
fn released(aws: &FakeAws) -> BTreeSet<i64> {
    let released = calls(aws, "ChangeMessageVisibilityBatch");
    for entry in released.iter().flat_map(|call| call["Entries"].as_array().unwrap()) {
        assert_eq!(entry["VisibilityTimeout"], 0, "{entry}");
    }
    receipts(&released)
}

/// The number of a letter, which its id contains.
fn number(id: i64) -> i64 {
    (id >> 21) - SENT
}

#[tokio::test]
async fn selection_on_sqs_has_only_letters_that_match_it() {
    let database = database(&[&bus::MIGRATOR]).await;
    let kinds = [None, Some(TYPES[0]), Some(TYPES[1]), Some("ProductDeleted")];
    let subjects = [None, Some(1), Some(2), Some(3)].map(|it| it.map(Uuid::from_u128));
    // A letter of exactly that time is not from before it.
    let times = [None, Some(at(100)), Some(at(200)), Some(at(201))];
    for (kind, subject, before) in kinds.into_iter().flat_map(|kind| {
        let pairs = subjects.iter().flat_map(|subject| times.map(|time| (*subject, time)));
        pairs.map(move |(subject, time)| (kind, subject, time))
    }) {
        let mut receive = receive(each_combination());
        let aws = FakeAws::start(move |operation, sent| match operation {
            "ReceiveMessage" => receive(sent),
            _ => response(sent, |_| false),
        })
        .await;
        let letters = letters(&aws, &database.pool);
        let selection = Selection {
            event_type: kind.map(ToOwned::to_owned),
            subject,
            before,
            ..Selection::default()
        };
        let fits = |nth: i64| {
            let own = parts(nth);
            kind.is_none_or(|kind| kind == own.0)
                && subject.is_none_or(|subject| subject == own.1)
                && before.is_none_or(|before| own.2 < before)
        };
        let (fitting, others): (BTreeSet<i64>, BTreeSet<i64>) = (0..8).partition(|nth| fits(*nth));
        let listed = letters.list(&selection, 0, 100).await.unwrap();
        let listed: BTreeSet<i64> = listed.into_iter().map(|letter| number(letter.id)).collect();
        assert_eq!(listed, fitting, "{selection:?}");
        let count = i64::try_from(fitting.len()).unwrap();
        assert_eq!(letters.count(&selection).await.unwrap(), count, "{selection:?}");
        let before = aws.calls().len();
        let settled = letters.settle(&selection, None, Action::Discard, OPERATOR, at(300)).await;
        assert_eq!(settled.unwrap(), count, "{selection:?}");
        let made = aws.calls().split_off(before).into_iter();
        let of = |operation: &str| -> Vec<Value> {
            made.clone().filter(|(made, _)| made == operation).map(|(_, sent)| sent).collect()
        };
        assert_eq!(receipts(&of("DeleteMessageBatch")), fitting, "{selection:?}");
        assert_eq!(receipts(&of("ChangeMessageVisibilityBatch")), others, "{selection:?}");
    }
}

/// Five letters.
fn five() -> Value {
    json!({"Messages": (0..5).map(|nth| letter(nth, GOLDEN)).collect::<Vec<_>>()})
}

#[tokio::test]
async fn letter_is_kept_when_its_audit_cannot_be_written() {
    let pool = PgPool::connect_lazy("postgres://user@127.0.0.1:1/nothing").unwrap();
    pool.close().await;
    for (action, sent_again) in [(Action::Discard, 0), (Action::Redrive, 1)] {
        let mut receive = receive(five());
        let aws = FakeAws::start(move |operation, sent| match operation {
            "ReceiveMessage" => receive(sent),
            _ => response(sent, |_| false),
        })
        .await;
        let all = Selection::default();
        let settled = letters(&aws, &pool).settle(&all, None, action, OPERATOR, at(300)).await;
        let error = settled.unwrap_err();
        assert!(matches!(error, DeadLettersError::Database(_)), "{action:?}: {error:?}");
        assert_eq!(calls(&aws, "SendMessageBatch").len(), sent_again, "{action:?}");
        assert_eq!(calls(&aws, "DeleteMessageBatch"), [Value::Null; 0], "{action:?}");
        assert_eq!(released(&aws), (0..5).collect(), "{action:?}");
    }
}

#[tokio::test]
async fn letter_that_is_received_again_is_deleted_by_its_last_receipt() {
    let database = database(&[&bus::MIGRATOR]).await;
    let mut again = letter(2, GOLDEN);
    again["ReceiptHandle"] = json!("receipt 12");
    let mut received = vec![json!({}), json!({"Messages": [again]}), five()];
    let aws = FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" if sent["QueueUrl"] == DEAD => {
            FakeResponse::Success(received.pop().unwrap())
        }
        "ReceiveMessage" => FakeResponse::Success(json!({})),
        _ => response(sent, |_| false),
    })
    .await;
    let (all, letters) = (Selection::default(), letters(&aws, &database.pool));
    letters.settle(&all, None, Action::Discard, OPERATOR, at(300)).await.unwrap();
    // An older receipt may delete nothing.
    let deleted = receipts(&calls(&aws, "DeleteMessageBatch"));
    assert_eq!(deleted, BTreeSet::from([0, 1, 3, 4, 12]));
}

#[tokio::test]
async fn redrive_fails_when_the_queue_takes_no_letter() {
    let database = database(&[&bus::MIGRATOR]).await;
    let mut receive = receive(five());
    let aws = FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" => receive(sent),
        "SendMessageBatch" => response(sent, |_| true),
        _ => response(sent, |_| false),
    })
    .await;
    let (all, letters) = (Selection::default(), letters(&aws, &database.pool));
    let settled = letters.settle(&all, None, Action::Redrive, OPERATOR, at(300)).await;
    let error = settled.unwrap_err();
    assert!(matches!(error, DeadLettersError::Sqs(_)), "{error:?}");
    assert_eq!(receipts(&calls(&aws, "DeleteMessageBatch")), BTreeSet::new());
    assert_eq!(released(&aws), (0..5).collect());
    let audit = sqlx::query_scalar("select count(*) from bus.dead_letter_audit");
    let audited: i64 = audit.fetch_one(&database.pool).await.unwrap();
    assert_eq!(audited, 0);
}

#[tokio::test]
async fn received_letters_are_released_when_another_receive_fails() {
    // The other queue fails, and then a second receive of the same queue.
    for (failing, broken) in [(OTHER_DEAD, "parcels"), (DEAD, "catalog")] {
        let mut unread = Some(five());
        let aws = FakeAws::start(move |operation, sent| match operation {
            "ReceiveMessage" => match unread.take_if(|_| sent["QueueUrl"] == DEAD) {
                Some(messages) => FakeResponse::Success(messages),
                None if sent["QueueUrl"] == failing => FakeResponse::Error(400, "AccessDenied"),
                None => FakeResponse::Success(json!({})),
            },
            _ => response(sent, |_| false),
        })
        .await;
        let pool = PgPool::connect_lazy("postgres://user@127.0.0.1:1/nothing").unwrap();
        let listed = letters(&aws, &pool).list(&Selection::default(), 0, 10).await;
        let error = listed.unwrap_err();
        let causes = shared::telemetry::causes(&error);
        assert!(causes.contains(broken) && causes.contains("AccessDenied"), "{causes}");
        assert_eq!(released(&aws), (0..5).collect(), "{broken}");
    }
}

#[tokio::test]
async fn letter_that_sqs_moved_itself_shows_what_sqs_knows() {
    let mut receive = receive(json!({"Messages": [letter(0, GOLDEN), letter(1, "no event")]}));
    let aws = FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" => receive(sent),
        _ => response(sent, |_| false),
    })
    .await;
    let pool = PgPool::connect_lazy("postgres://user@127.0.0.1:1/nothing").unwrap();
    let listed = letters(&aws, &pool).list(&Selection::default(), 0, 10).await.unwrap();
    let event: Value = serde_json::from_str(GOLDEN).unwrap();
    let text = |name: &str| event[name].as_str().unwrap();
    let crashed = DeadLetter {
        id: listed[0].id,
        queue: "catalog".to_owned(),
        event_id: text("id").parse().unwrap(),
        event_type: "ProductUpdated".to_owned(),
        subject: text("subject").parse().unwrap(),
        reason: "every attempt ended without a result".to_owned(),
        attempts: 5,
        sent_at: at(0),
        dead_at: at(0),
    };
    let sent_at = at(0) + TimeDelta::milliseconds(1);
    let unreadable = DeadLetter {
        id: listed[1].id,
        event_id: Uuid::nil().to_string().parse().unwrap(),
        event_type: String::new(),
        subject: Uuid::nil(),
        sent_at,
        dead_at: sent_at,
        ..crashed.clone()
    };
    assert_eq!(listed.iter().map(|letter| number(letter.id)).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(listed, [crashed, unreadable]);
}
