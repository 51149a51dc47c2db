//! A queue and its intake over a real database: what comes again, when, and what is buried.

use std::time::Duration;

use chrono::DateTime;
use shared::bus::dead_letters::{self, Action, Selection};
use shared::bus::queue::{Message, Outcome, Queue};
use shared::bus::{self, Bus, Outbound, PgBus};
use shared::clock::Clock;
use shared::host::intake::{self, Failure};
use testkit::{TestDatabase, database};
use uuid::Uuid;

use crate::told::{self, Told};

struct World {
    database: TestDatabase,
    clock: Clock,
    bus: Bus,
    queue: Queue,
}

impl World {
    async fn new() -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let pool = database.pool.clone();
        let bus = PgBus::new(pool.clone(), clock.clone(), &["catalog"], std::sync::Arc::default());
        let queue = Queue::new(pool, clock.clone(), "catalog");
        Self { database, clock, bus: Bus::Postgres(bus), queue }
    }

    /// Sends messages with these bodies.
    async fn send(&self, bodies: &[String]) {
        let events: Vec<Outbound> = (1..)
            .zip(bodies)
            .map(|(nth, body)| Outbound {
                event_id: Uuid::from_u128(nth),
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

    /// How many messages are visible, in flight and dead.
    async fn depth(&self) -> (i64, i64, i64) {
        let depth = self.queue.depth().await.unwrap();
        (depth.visible, depth.in_flight, depth.dead_letters)
    }
}

/// The event with this position, as it is sent.
fn event(position: i64) -> String {
    told::event(position).to_string()
}

#[tokio::test]
async fn a_received_message_is_out_of_sight_until_its_visibility_timeout_ends() {
    let world = World::new().await;
    world.send(&[event(1)]).await;
    assert_eq!(world.receive().await.len(), 1);
    world.clock.advance(Duration::from_secs(29));
    assert!(world.receive().await.is_empty());
    assert_eq!(world.depth().await, (0, 1, 0));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.receive().await[0].attempts, 2);
}

#[tokio::test]
async fn a_message_that_fails_each_time_is_kept_as_a_dead_letter_with_its_reason() {
    let world = World::new().await;
    world.send(&[event(1)]).await;
    for attempt in 1..=5 {
        let message = world.receive().await.remove(0);
        assert_eq!(message.attempts, attempt);
        let reason = "it cannot be".to_owned();
        world.queue.settle(vec![(message, Outcome::Retry { reason })]).await.unwrap();
        world.clock.advance(Duration::from_mins(10));
    }
    assert!(world.receive().await.is_empty());
    let pool = &world.database.pool;
    let letters = dead_letters::list(pool, &Selection::default(), 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("it cannot be", 5));
    let body = dead_letters::find_body(pool, letters[0].id).await.unwrap();
    assert_eq!(body, Some(event(1)));
}

#[tokio::test]
async fn a_dead_letter_that_is_sent_again_is_received_as_if_for_the_first_time() {
    let world = World::new().await;
    world.send(&[event(1)]).await;
    let dead = Outcome::Dead { reason: "unreadable".to_owned() };
    let message = world.receive().await.remove(0);
    world.queue.settle(vec![(message, dead)]).await.unwrap();
    let (pool, now) = (&world.database.pool, world.clock.now());
    let all = Selection::default();
    let operator = Uuid::from_u128(9);
    let sent =
        dead_letters::settle(pool, &all, None, Action::Redrive, operator, now).await.unwrap();
    assert_eq!((sent, world.depth().await), (1, (1, 0, 0)));
    let message = world.receive().await.remove(0);
    assert_eq!((message.attempts, message.body), (1, event(1)));
    let audit: (String, String) = sqlx::query_as("select actor, action from bus.dead_letter_audit")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(audit, (operator.to_string(), "redrive".to_owned()));
}

#[tokio::test]
async fn of_a_batch_only_what_failed_comes_again() {
    let world = World::new().await;
    let bodies: Vec<String> = (1..=6).map(event).collect();
    world.send(&bodies).await;
    let fussy = Told::to(|position| match position % 3 {
        0 => Err(Failure::Failed("a multiple of three".to_owned())),
        _ => Ok(()),
    });
    intake::once(&world.queue, &world.clock, &fussy).await.unwrap();
    world.clock.advance(Duration::from_mins(1));
    let content = Told::to(|_| Ok(()));
    intake::once(&world.queue, &world.clock, &content).await.unwrap();
    assert_eq!(content.seen(), [3, 6]);
    assert_eq!(world.depth().await, (0, 0, 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_buried_at_once_and_blocks_nobody() {
    let world = World::new().await;
    let unknown = event(3).replace("ProductUpdated", "FromTheFuture");
    world.send(&["no event".to_owned(), event(2), unknown]).await;
    let content = Told::to(|_| Ok(()));
    intake::once(&world.queue, &world.clock, &content).await.unwrap();
    assert_eq!(content.seen(), [2]);
    assert_eq!(world.depth().await, (0, 0, 1));
}

#[tokio::test]
async fn a_store_that_is_away_for_long_makes_no_dead_letter() {
    let world = World::new().await;
    world.send(&[event(1)]).await;
    let away = Told::to(|_| Err(Failure::Unavailable("nobody answers".to_owned())));
    for _ in 0..20 {
        intake::once(&world.queue, &world.clock, &away).await.unwrap();
        world.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(away.seen().len(), 20);
    assert_eq!(world.depth().await, (1, 0, 0));
}
