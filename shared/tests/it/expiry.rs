//! Messages that expire, each with the reason of its last failure.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use shared::bus::message::Outcome;
use shared::bus::postgres::{PgBus, Queue};
use shared::bus::{self, Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::id::EventId;
use testkit::{TestDatabase, database, rows};
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

struct TestBed {
    database: TestDatabase,
    clock: Clock,
    queue: Queue,
}

impl TestBed {
    async fn new() -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let queue = Queue::new(database.pool.clone(), clock.clone(), CATALOG_QUEUE);
        Self { database, clock, queue }
    }

    async fn publish(&self, n: u128) {
        let event = Outbound {
            event_id: EventId::from_u128(n),
            source: Event::SOURCE,
            event_type: "ProductUpdated",
            subject: Uuid::from_u128(n),
            body: format!("body {n}"),
        };
        let bus = PgBus::new(self.database.pool.clone(), self.clock.clone(), ROUTES);
        bus.publish(&[event]).await.unwrap();
    }

    async fn rows(&self, table: &str) -> Vec<Value> {
        rows(&self.database.pool, table, "id").await
    }

    /// One column of a table.
    async fn column(&self, table: &str, column: &str) -> Vec<Value> {
        self.rows(table).await.into_iter().map(|row| row[column].clone()).collect()
    }
}

#[tokio::test]
async fn message_past_both_limits_at_once_is_audited_and_deleted() {
    let bed = TestBed::new().await;
    // Their ages at the end: just beyond each limit and exactly at it.
    bed.publish(1).await;
    bed.clock.advance(SECOND);
    bed.publish(2).await;
    bed.clock.advance(13 * DAY + Duration::from_secs(24 * 60 * 60 - 1));
    bed.publish(3).await;
    bed.clock.advance(SECOND);
    bed.publish(4).await;
    bed.clock.advance(14 * DAY);
    assert_eq!(bed.queue.expire().await.unwrap(), (3, 0));
    let ids = [2, 3].map(|n| json!(EventId::from_u128(n)));
    assert_eq!(bed.column("bus.dead_letters", "event_id").await, ids);
    let waited = "it waited for too long";
    assert_eq!(bed.column("bus.dead_letters", "reason").await, [waited, waited]);
    assert_eq!(bed.column("bus.messages", "event_id").await, [json!(EventId::from_u128(4))]);
    assert_eq!(
        bed.rows("bus.dead_letter_audit").await,
        [json!({
            "id": 1, "at": "2027-02-12T08:00:01+00:00", "actor": "retention", "action": "expire",
            "dead_letter_id": 1, "queue": "catalog", "event_id": EventId::from_u128(1),
            "reason": waited,
        })]
    );
}

#[tokio::test]
async fn message_that_expires_keeps_the_reason_of_its_last_failure() {
    // How it ends, and the table with its reason.
    for (after, table) in [
        (None, "bus.dead_letters"),
        (Some(15 * DAY), "bus.dead_letters"),
        (Some(29 * DAY), "bus.dead_letter_audit"),
    ] {
        let bed = TestBed::new().await;
        bed.publish(1).await;
        for reason in ["the first failure", "the last failure"] {
            let received = bed.queue.receive(1).await.unwrap().remove(0);
            let failed = Outcome::Retry { reason: reason.to_owned() };
            bed.queue.settle(vec![(received, failed)]).await.unwrap();
            bed.clock.advance(SECOND);
        }
        if let Some(after) = after {
            bed.clock.advance(after);
            assert_eq!(bed.queue.expire().await.unwrap(), (1, 0));
        } else {
            for _ in 0..3 {
                assert_eq!(bed.queue.receive(1).await.unwrap().len(), 1);
                bed.clock.advance(Duration::from_mins(1));
            }
            assert_eq!(bed.queue.make_exhausted_dead_letters().await.unwrap(), 1);
        }
        assert_eq!(bed.column(table, "reason").await, ["the last failure"], "{after:?}");
        assert_eq!(bed.rows("bus.messages").await, [Value::Null; 0], "{after:?}");
    }
}
