//! A queue and its intake over a real database: redelivery, backoff and dead letters.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::DateTime;
use futures::FutureExt as _;
use shared::bus::message::Outcome;
use shared::bus::postgres::{Message, PgBus, Queue, Queues, dead_letters};
use shared::bus::selection::{Action, Selection};
use shared::bus::{self, Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::host::health::{self, Health};
use shared::host::intake::{self, Failure};
use shared::host::metrics_recorder;
use shared::id::{EventId, UserId};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use testkit::{Call, TestDatabase, database, set_back};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::handlers::{self, ByPosition};
use crate::second_producer::{PARCEL_QUEUE, TWO_PRODUCERS};

struct TestBed {
    database: TestDatabase,
    clock: Clock,
    bus: PgBus,
    queue: Queue,
}

impl TestBed {
    async fn new() -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let pool = database.pool.clone();
        let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
        let queue = Queue::new(pool, clock.clone(), "catalog");
        Self { database, clock, bus, queue }
    }

    /// Sends messages with these bodies.
    async fn send(&self, bodies: &[String]) {
        let events: Vec<Outbound> = (1..)
            .zip(bodies)
            .map(|(nth, body)| Outbound {
                event_id: EventId::from_u128(nth),
                source: Event::SOURCE,
                event_type: "ProductUpdated",
                subject: Uuid::from_u128(nth),
                body: body.clone(),
            })
            .collect();
        for taken in self.bus.publish(&events).await.unwrap() {
            taken.unwrap();
        }
    }

    async fn receive(&self) -> Vec<Message> {
        self.queue.receive(100).await.unwrap()
    }

    /// The numbers of visible, in-flight and dead messages.
    async fn depth(&self) -> (i64, i64, i64) {
        let depth = self.queue.depth().await.unwrap();
        (depth.visible, depth.in_flight, depth.dead_letters)
    }
}

/// An event at this position, as it is sent.
fn event(position: i64) -> String {
    handlers::inventory_event(position).to_string()
}

#[tokio::test]
async fn metrics_have_the_depth_of_each_queue_of_the_process() {
    let bed = TestBed::new().await;
    bed.send(&[event(1), event(2)]).await;
    // A gauge that is set before there is a recorder is lost.
    metrics_recorder::recorder();
    let queues = Queues::new(bed.database.pool.clone(), bed.clock.clone(), TWO_PRODUCERS);
    let health = Health { queues: queues.all(), ..Health::default() };
    let router = Router::from(health::routes().with_state(health));
    let page = Call::get("/metrics").send(&router).await.expect(200).text;
    for (queue, visible) in [("catalog", 2), (PARCEL_QUEUE, 0)] {
        let line = format!("vitrina_queue_visible{{queue=\"{queue}\"}} {visible}");
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
}

/// A server that accepts connections and stays silent.
async fn silent_database() -> (tokio::net::TcpListener, PgPool) {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://user@{}/nothing", silent.local_addr().unwrap());
    let waits = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    (silent, waits.connect_lazy(&url).unwrap())
}

#[tokio::test(start_paused = true)]
async fn other_metrics_are_served_while_the_database_is_silent() {
    let (_silent, pool) = silent_database().await;
    metrics_recorder::recorder();
    // No other test of this program sets it.
    metrics::gauge!("vitrina_buckets_oldest_checked_seconds").set(41.5);
    let queues = Queues::new(pool, Clock::System, TWO_PRODUCERS).all();
    assert!(queues.len() > 1);
    let router = Router::from(health::routes().with_state(Health { queues, ..Health::default() }));
    let begun = tokio::time::Instant::now();
    let page = Call::get("/metrics").send(&router).await.expect(200).text;
    let line = "vitrina_buckets_oldest_checked_seconds 41.5";
    assert!(page.lines().any(|it| it == line), "{page}");
    // The first queue has waited for a connection, and no other waits again. Timers are up to a
    // millisecond late.
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn consumers_of_the_queues_of_an_event_are_nudged() {
    let bed = TestBed::new().await;
    let [catalog, parcels]: [Arc<Notify>; 2] = Default::default();
    let bus = PgBus::new(bed.database.pool.clone(), bed.clock.clone(), TWO_PRODUCERS)
        .with_nudge(CATALOG_QUEUE, Arc::clone(&catalog))
        .with_nudge(PARCEL_QUEUE, Arc::clone(&parcels));
    let events = [
        (Event::SOURCE, "ProductUpdated", [true, false]),
        ("test/parcels", "ParcelSent", [false, true]),
        ("test/parcels", "BookCourier", [false, false]),
        ("test/parcels", "ParcelPraised", [false, false]),
    ];
    for (source, event_type, expected) in events {
        let event_id = EventId::from_u128(1);
        let (subject, body) = (Uuid::nil(), String::new());
        bus.publish(&[Outbound { event_id, source, event_type, subject, body }]).await.unwrap();
        let nudged = [&catalog, &parcels].map(|nudge| nudge.notified().now_or_never().is_some());
        assert_eq!(nudged, expected, "{event_type}");
    }
}

#[tokio::test]
async fn received_message_is_invisible_for_the_visibility_timeout() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    assert_eq!(bed.receive().await.len(), 1);
    bed.clock.advance(Duration::from_secs(29));
    assert!(bed.receive().await.is_empty());
    assert_eq!(bed.depth().await, (0, 1, 0));
    bed.clock.advance(Duration::from_secs(1));
    assert_eq!(bed.receive().await[0].attempts, 2);
}

#[tokio::test]
async fn messages_are_visible_after_the_clock_was_set_back() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    let failed = bed.receive().await.remove(0);
    let reason = "not yet".to_owned();
    bed.queue.settle(vec![(failed, Outcome::Retry { reason })]).await.unwrap();
    bed.send(&[event(2)]).await;
    assert_eq!(bed.receive().await.len(), 1);
    bed.send(&[event(3)]).await;
    // One is put back, one is in flight, and one waits.
    set_back(&bed.clock, Duration::from_hours(1));
    assert_eq!(bed.depth().await, (3, 0, 0));
    let attempts: Vec<i32> = bed.receive().await.iter().map(|message| message.attempts).collect();
    assert_eq!(attempts, [2, 2, 1]);
    // From now on, they are hidden by the clock as it is.
    assert_eq!(bed.depth().await, (0, 3, 0));
    assert!(bed.receive().await.is_empty());
    // The clock of another process may be behind by as much as the visibility timeout.
    set_back(&bed.clock, Duration::from_secs(30));
    assert!(bed.receive().await.is_empty());
    set_back(&bed.clock, Duration::from_micros(1));
    assert_eq!(bed.receive().await.len(), 3);
    assert_eq!(bed.queue.expire().await.unwrap(), (0, 0));
    // The start of an only consumer waits for no time.
    assert_eq!(bed.queue.release().await.unwrap(), 3);
    assert_eq!(bed.receive().await.len(), 3);
}

#[tokio::test]
async fn exhausted_message_is_buried_after_the_clock_was_set_back() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    for _ in 0..5 {
        assert_eq!(bed.receive().await.len(), 1);
        bed.clock.advance(Duration::from_secs(30));
    }
    assert!(bed.receive().await.is_empty());
    set_back(&bed.clock, Duration::from_hours(1));
    assert!(bed.receive().await.is_empty());
    assert_eq!(bed.queue.make_exhausted_dead_letters().await.unwrap(), 1);
    assert_eq!(bed.depth().await, (0, 0, 1));
}

#[tokio::test]
async fn fifth_failure_makes_a_dead_letter_with_its_reason() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    for attempt in 1..=5 {
        let message = bed.receive().await.remove(0);
        assert_eq!(message.attempts, attempt);
        let reason = "it cannot be".to_owned();
        bed.queue.settle(vec![(message, Outcome::Retry { reason })]).await.unwrap();
        bed.clock.advance(Duration::from_mins(10));
    }
    assert!(bed.receive().await.is_empty());
    let pool = &bed.database.pool;
    let letters = dead_letters::list(pool, &Selection::default(), 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("it cannot be", 5));
    let body = dead_letters::find_body(pool, letters[0].id).await.unwrap();
    assert_eq!(body, Some(event(1)));
}

#[tokio::test]
async fn failed_message_waits_four_times_longer_each_time() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    for milliseconds in [200, 800, 3_200, 12_800] {
        let message = bed.receive().await.remove(0);
        let failed = Outcome::Retry { reason: "not yet".to_owned() };
        bed.queue.settle(vec![(message, failed)]).await.unwrap();
        bed.clock.advance(Duration::from_millis(milliseconds - 1));
        assert!(bed.receive().await.is_empty(), "before {milliseconds} ms");
        bed.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(bed.receive().await[0].attempts, 5);
}

#[tokio::test]
async fn message_waits_a_second_for_a_store_that_does_not_respond() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    for _ in 0..3 {
        let message = bed.receive().await.remove(0);
        assert_eq!(message.attempts, 1, "an outage costs no attempt");
        let later = Outcome::Later { reason: "no response".to_owned() };
        bed.queue.settle(vec![(message, later)]).await.unwrap();
        bed.clock.advance(Duration::from_millis(999));
        assert!(bed.receive().await.is_empty());
        bed.clock.advance(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn redriven_message_is_received_as_if_for_the_first_time() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    let dead = Outcome::Dead { reason: "unreadable".to_owned() };
    let message = bed.receive().await.remove(0);
    bed.queue.settle(vec![(message, dead)]).await.unwrap();
    let (pool, now) = (&bed.database.pool, bed.clock.now());
    let all = Selection::default();
    let operator = UserId::from_u128(9);
    let sent =
        dead_letters::settle(pool, &all, None, Action::Redrive, operator, now).await.unwrap();
    assert_eq!((sent, bed.depth().await), (1, (1, 0, 0)));
    let message = bed.receive().await.remove(0);
    assert_eq!((message.attempts, message.body), (1, event(1)));
    let audit: (String, String) = sqlx::query_as("select actor, action from bus.dead_letter_audit")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(audit, (operator.to_string(), "redrive".to_owned()));
}

#[tokio::test]
async fn only_failed_messages_of_a_batch_are_redelivered() {
    let bed = TestBed::new().await;
    let bodies: Vec<String> = (1..=6).map(event).collect();
    bed.send(&bodies).await;
    let picky = ByPosition::new(|position| match position % 3 {
        0 => Err(Failure::Failed("a multiple of three".to_owned())),
        _ => Ok(()),
    });
    intake::once(&bed.queue, &bed.clock, &picky).await.unwrap();
    bed.clock.advance(Duration::from_mins(1));
    let accepting = ByPosition::new(|_| Ok(()));
    intake::once(&bed.queue, &bed.clock, &accepting).await.unwrap();
    assert_eq!(accepting.seen(), [3, 6]);
    assert_eq!(bed.depth().await, (0, 0, 0));
}

#[tokio::test]
async fn unreadable_message_is_a_dead_letter_at_once() {
    let bed = TestBed::new().await;
    let unknown = event(3).replace("ProductUpdated", "FromTheFuture");
    bed.send(&["no event".to_owned(), event(2), unknown]).await;
    let accepting = ByPosition::new(|_| Ok(()));
    intake::once(&bed.queue, &bed.clock, &accepting).await.unwrap();
    assert_eq!(accepting.seen(), [2]);
    assert_eq!(bed.depth().await, (0, 0, 1));
}

#[tokio::test]
async fn long_outage_of_a_store_makes_no_dead_letter() {
    let bed = TestBed::new().await;
    bed.send(&[event(1)]).await;
    let unavailable = ByPosition::new(|_| Err(Failure::Unavailable("no response".to_owned())));
    for _ in 0..20 {
        intake::once(&bed.queue, &bed.clock, &unavailable).await.unwrap();
        bed.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(unavailable.seen().len(), 20);
    assert_eq!(bed.depth().await, (1, 0, 0));
}
