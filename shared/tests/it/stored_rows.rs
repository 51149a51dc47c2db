//! Every column of the tables of the bus, with its value.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use shared::bus::message::Outcome;
use shared::bus::postgres::{Message, PgBus, Queue, dead_letters};
use shared::bus::selection::{Action, Selection};
use shared::bus::{self, Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::host::health::{self, Health};
use shared::id::{EventId, UserId};
use testkit::{Call, database, locks_are_awaited, rows, within};
use uuid::Uuid;

/// `row` with other values.
fn with(row: &Value, changes: &Value) -> Value {
    let mut row = row.clone();
    for (name, value) in changes.as_object().unwrap() {
        assert!(row.get(name).is_some(), "{name} is no column");
        row[name] = value.clone();
    }
    row
}

#[tokio::test]
async fn every_column_of_a_message_is_read_back() {
    let database = database(&[&bus::MIGRATOR]).await;
    let pool = &database.pool;
    let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
    let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
    let (event_id, subject) = (EventId::from_u128(0xe), Uuid::from_u128(0x5));
    let (source, event_type) = (Event::SOURCE, "ProductUpdated");
    let event = Outbound { event_id, source, event_type, subject, body: "the body".to_owned() };
    bus.publish(&[event]).await.unwrap();
    let message = json!({
        "id": 1, "queue": "catalog", "event_id": event_id, "event_type": "ProductUpdated",
        "subject": subject, "body": "the body", "sent_at": "2027-01-15T08:00:00+00:00",
        "visible_at": "2027-01-15T08:00:00+00:00", "attempts": 0, "last_failure": null,
    });
    let messages = async || rows(pool, "bus.messages", "id").await;
    let dead = async || rows(pool, "bus.dead_letters", "id").await;
    assert_eq!(messages().await, std::slice::from_ref(&message));

    clock.advance(Duration::from_secs(1));
    let received = queue.receive(1).await.unwrap().remove(0);
    assert_eq!((received.id, received.attempts, received.body.as_str()), (1, 1, "the body"));
    assert_eq!(received.sent_at.to_rfc3339(), "2027-01-15T08:00:00+00:00");
    let hidden = json!({"visible_at": "2027-01-15T08:00:31+00:00", "attempts": 1});
    assert_eq!(messages().await, [with(&message, &hidden)]);
    let failed = Outcome::Retry { reason: "the first failure".to_owned() };
    queue.settle(vec![(received, failed)]).await.unwrap();
    let retried = json!({
        "visible_at": "2027-01-15T08:00:01.2+00:00", "attempts": 1,
        "last_failure": "the first failure",
    });
    assert_eq!(messages().await, [with(&message, &retried)]);

    clock.advance(Duration::from_secs(1));
    let received = queue.receive(1).await.unwrap().remove(0);
    let refused = Outcome::Dead { reason: "the second failure".to_owned() };
    queue.settle(vec![(received, refused)]).await.unwrap();
    assert_eq!(messages().await, [Value::Null; 0]);
    let letter = json!({
        "id": 1, "queue": "catalog", "event_id": event_id, "event_type": "ProductUpdated",
        "subject": subject, "body": "the body", "reason": "the second failure", "attempts": 2,
        "sent_at": "2027-01-15T08:00:00+00:00", "dead_at": "2027-01-15T08:00:02+00:00",
    });
    assert_eq!(dead().await, std::slice::from_ref(&letter));

    // A redriven message is as old as it was, and begins with its attempts anew.
    clock.advance(Duration::from_secs(1));
    let (all, operator) = (Selection::default(), UserId::from_u128(0x09e4));
    let settle = async |action| {
        let settled = dead_letters::settle(pool, &all, None, action, operator, clock.now()).await;
        assert_eq!(settled.unwrap(), 1);
    };
    settle(Action::Redrive).await;
    let again = json!({"id": 2, "visible_at": "2027-01-15T08:00:03+00:00"});
    assert_eq!((messages().await, dead().await), (vec![with(&message, &again)], vec![]));

    // Received too often without a result.
    for _ in 0..5 {
        queue.receive(1).await.unwrap();
        clock.advance(Duration::from_secs(30));
    }
    assert_eq!(queue.make_exhausted_dead_letters().await.unwrap(), 1);
    let exhausted = with(
        &letter,
        &json!({
            "id": 2, "attempts": 5, "reason": "every attempt ended without a result",
            "dead_at": "2027-01-15T08:02:33+00:00",
        }),
    );
    assert_eq!((messages().await, dead().await), (vec![], vec![exhausted]));
    settle(Action::Redrive).await;
    clock.advance(Duration::from_hours(24 * 20));
    assert_eq!(queue.expire().await.unwrap(), (1, 0));
    let late = with(
        &letter,
        &json!({
            "id": 3, "attempts": 0, "reason": "it waited for too long",
            "dead_at": "2027-02-04T08:02:33+00:00",
        }),
    );
    assert_eq!((messages().await, dead().await), (vec![], vec![late]));
    clock.advance(Duration::from_hours(24 * 10));
    assert_eq!(queue.expire().await.unwrap(), (0, 1));
    assert_eq!(dead().await, [Value::Null; 0]);

    let audited = |id: i64, at: &str, actor: &str, action: &str, reason: &str| {
        json!({
            "id": id, "at": at, "actor": actor, "action": action, "dead_letter_id": id,
            "queue": "catalog", "event_id": event_id, "reason": reason,
        })
    };
    let (by, waited) = (operator.to_string(), "it waited for too long");
    let exhausted = "every attempt ended without a result";
    assert_eq!(
        rows(pool, "bus.dead_letter_audit", "id").await,
        [
            audited(1, "2027-01-15T08:00:03+00:00", &by, "redrive", "the second failure"),
            audited(2, "2027-01-15T08:02:33+00:00", &by, "redrive", exhausted),
            audited(3, "2027-02-14T08:02:33+00:00", "retention", "expire", waited),
        ]
    );
}

#[tokio::test]
async fn discarded_letter_is_audited_with_its_actor_and_time() {
    let database = database(&[&bus::MIGRATOR]).await;
    let pool = &database.pool;
    let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
    let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
    bus.publish(&[outbound(1), outbound(2)]).await.unwrap();
    let received = queue.receive(2).await.unwrap();
    let refuse = |n: usize| Outcome::Dead { reason: format!("failure {n}") };
    let outcomes = received.into_iter().zip([refuse(1), refuse(2)]).collect();
    queue.settle(outcomes).await.unwrap();
    clock.advance(Duration::from_mins(1));
    let second = Selection { ids: Some(vec![2]), ..Selection::default() };
    let (operator, now) = (UserId::from_u128(0x09e4), clock.now());
    dead_letters::settle(pool, &second, None, Action::Discard, operator, now).await.unwrap();
    let audit = rows(pool, "bus.dead_letter_audit", "id").await;
    assert_eq!(
        audit,
        [json!({
            "id": 1, "at": "2027-01-15T08:01:00+00:00", "actor": operator, "action": "discard",
            "dead_letter_id": 2, "queue": "catalog", "event_id": EventId::from_u128(2),
            "reason": "failure 2",
        })]
    );
    let left = rows(pool, "bus.dead_letters", "id").await;
    assert_eq!((left.len(), &left[0]["reason"]), (1, &json!("failure 1")));
}

#[tokio::test]
async fn metrics_are_plain_text_in_the_format_of_prometheus() {
    let router = axum::Router::from(health::routes().with_state(Health::default()));
    let page = Call::get("/metrics").send(&router).await.expect(200);
    assert_eq!(page.header("content-type"), "text/plain; version=0.0.4");
}

#[tokio::test]
async fn message_that_another_consumer_receives_is_skipped() {
    let database = database(&[&bus::MIGRATOR]).await;
    let pool = &database.pool;
    let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
    let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
    bus.publish(&[outbound(1), outbound(2), outbound(3)]).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    let lock = "select 1 from bus.messages where id = 2 for update";
    sqlx::query(lock).execute(&mut *other).await.unwrap();
    let ids = |messages: Vec<Message>| -> Vec<i64> { messages.iter().map(|it| it.id).collect() };
    let received = within("the other messages", queue.receive(10)).await.unwrap();
    assert_eq!(ids(received), [1, 3]);
    other.rollback().await.unwrap();
    assert_eq!(ids(queue.receive(10).await.unwrap()), [2]);
}

#[tokio::test]
async fn letters_that_two_operators_redrive_at_once_are_sent_once() {
    let database = database(&[&bus::MIGRATOR]).await;
    let pool = &database.pool;
    let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
    let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
    bus.publish(&[outbound(1), outbound(2), outbound(3)]).await.unwrap();
    let dead = |()| Outcome::Dead { reason: "it cannot be".to_owned() };
    let received = queue.receive(10).await.unwrap();
    queue.settle(received.into_iter().map(|it| (it, dead(()))).collect()).await.unwrap();
    let (all, operator, now) = (Selection::default(), UserId::from_u128(1), clock.now());
    let redrive = || dead_letters::settle(pool, &all, None, Action::Redrive, operator, now);
    // The other operator's statement has locked one of them.
    let mut other = pool.begin().await.unwrap();
    sqlx::query("delete from bus.dead_letters where id = 2").execute(&mut *other).await.unwrap();
    let committing = async {
        locks_are_awaited(pool, 1).await;
        other.commit().await.unwrap();
    };
    let (redriven, ()) = tokio::join!(redrive(), committing);
    assert_eq!(redriven.unwrap(), 2);
    let subjects: Vec<Value> =
        rows(pool, "bus.messages", "id").await.iter().map(|row| row["subject"].clone()).collect();
    assert_eq!(subjects, [json!(Uuid::from_u128(1)), json!(Uuid::from_u128(3))]);
    assert_eq!(rows(pool, "bus.dead_letter_audit", "id").await.len(), 2);
}

/// An event about another subject for each number.
fn outbound(n: u128) -> Outbound {
    Outbound {
        event_id: EventId::from_u128(n),
        source: Event::SOURCE,
        event_type: "ProductUpdated",
        subject: Uuid::from_u128(n),
        body: format!("body {n}"),
    }
}
