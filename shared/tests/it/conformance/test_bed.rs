//! A bus with the queues of two producers, over PostgreSQL or over EventBridge and SQS.

use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use shared::bus::aws::{EventBridge, SqsDeadLetters, SqsQueue, SqsTimings};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{PgBus, Queue, Queues};
use shared::bus::selection::{DeadLetter, Selection};
use shared::bus::{self, Bus, Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::CATALOG_QUEUE;
use shared::host::intake::{self, Handler};
use shared::host::sqs_intake;
use shared::id::{EventId, UserId};
use testkit::{Messaging, Ministack, TestDatabase, database};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::handlers::{ByPosition, inventory_event};
use crate::second_producer::{PARCEL_QUEUE, TWO_PRODUCERS};

/// Timeout on a machine that is busy with other tests.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

pub(super) const OPERATOR: UserId = UserId::from_u128(9);

/// Delays short enough for a test: SQS has its own clock.
const TIMINGS: SqsTimings = SqsTimings {
    visibility: Duration::from_secs(2),
    long_poll: Duration::from_secs(1),
    pause: Duration::ZERO,
    after_outage: Duration::ZERO,
};

/// A bus with the queues of two producers, and their dead letters. Unless a method takes a queue, it
/// uses the catalogue's.
pub(super) struct TestBed {
    bus: Bus,
    queues: AllQueues,
    pub(super) clock: Clock,
    pub(super) dead_letters: DeadLetters,
    pub(super) database: TestDatabase,
}

enum AllQueues {
    Tables(Queues),
    Sqs(Box<Messaging>),
}

enum Messages {
    Table(Queue),
    Sqs(SqsQueue),
}

impl TestBed {
    pub(super) async fn postgres() -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let pool = database.pool.clone();
        let bus = PgBus::new(pool.clone(), clock.clone(), TWO_PRODUCERS);
        let queues = Queues::new(pool, clock.clone(), TWO_PRODUCERS);
        Self {
            bus: Bus::Postgres(bus),
            dead_letters: DeadLetters::Postgres(queues.clone()),
            queues: AllQueues::Tables(queues),
            clock,
            database,
        }
    }

    /// `None` if the emulator is not installed, which the testkit reports.
    pub(super) async fn aws() -> Option<Self> {
        let messaging = Ministack::of_this_process()?.messaging(TWO_PRODUCERS).await;
        let database = database(&[&bus::MIGRATOR]).await;
        let (environment, clock) = (&messaging.environment, Clock::System);
        let bus = Bus::EventBridge(EventBridge::new(environment, &messaging.bus));
        let queues = messaging.queues();
        let dead_letters = SqsDeadLetters::new(environment, &clock, &queues, database.pool.clone());
        Some(Self {
            bus,
            queues: AllQueues::Sqs(Box::new(messaging)),
            clock,
            dead_letters: DeadLetters::Sqs(dead_letters),
            database,
        })
    }

    fn messages(&self, queue: &str) -> Messages {
        match &self.queues {
            AllQueues::Tables(queues) => Messages::Table(queues.queue(queue)),
            AllQueues::Sqs(messaging) => {
                let (environment, config) = (&messaging.environment, messaging.queue(queue));
                let queue = SqsQueue::new(environment, self.clock.clone(), config);
                Messages::Sqs(queue.with_timings(TIMINGS))
            }
        }
    }

    /// Publishes the events with these positions.
    pub(super) async fn publish(&self, positions: impl IntoIterator<Item = i64>) {
        let events: Vec<Outbound> = positions
            .into_iter()
            .map(|position| Outbound {
                event_id: EventId::from_u128(u128::try_from(position).unwrap()),
                source: Event::SOURCE,
                event_type: "ProductUpdated",
                subject: Uuid::from_u128(1),
                body: inventory_event(position).to_string(),
            })
            .collect();
        for taken in self.bus.publish(&events).await.unwrap() {
            taken.unwrap();
        }
    }

    /// Puts a message into a queue that no bus would carry.
    pub(super) async fn plant(&self, queue: &str, body: &str) {
        match &self.queues {
            AllQueues::Tables(_) => {
                let id = Uuid::from_u128(1);
                let route = TWO_PRODUCERS.iter().find(|route| route.queue == queue).unwrap();
                let event = Outbound {
                    event_id: EventId::from_uuid(id),
                    source: route.source,
                    event_type: if queue == PARCEL_QUEUE { "ParcelSent" } else { "ProductUpdated" },
                    subject: id,
                    body: body.to_owned(),
                };
                self.bus.publish(&[event]).await.unwrap();
            }
            AllQueues::Sqs(messaging) => {
                let client = aws_sdk_sqs::Client::new(&messaging.environment);
                let send = client.send_message().queue_url(&messaging.queue(queue).queue);
                send.message_body(body).send().await.unwrap();
            }
        }
    }

    /// Receives messages without settling them, as a consumer that crashes does. A bus may reformat
    /// an event, so this returns the parsed events.
    pub(super) async fn receive(&self) -> Vec<Value> {
        let bodies = self.receive_bodies(CATALOG_QUEUE).await;
        bodies.iter().map(|body| serde_json::from_str(body).unwrap_or_default()).collect()
    }

    pub(super) async fn receive_bodies(&self, queue: &str) -> Vec<String> {
        match self.messages(queue) {
            Messages::Table(queue) => {
                let received = queue.receive(100).await.unwrap();
                received.into_iter().map(|message| message.body).collect()
            }
            Messages::Sqs(queue) => {
                let received = queue.receive().await.unwrap();
                received.into_iter().map(|message| message.event().to_owned()).collect()
            }
        }
    }

    /// Handles and settles one batch.
    pub(super) async fn round(&self, handler: &impl Handler) {
        self.round_of(CATALOG_QUEUE, handler).await;
    }

    pub(super) async fn round_of(&self, queue: &str, handler: &impl Handler) {
        match self.messages(queue) {
            Messages::Table(queue) => {
                // Longer than any backoff.
                self.clock.advance(Duration::from_mins(10));
                intake::once(&queue, &self.clock, handler).await.unwrap();
            }
            Messages::Sqs(queue) => {
                let stop = CancellationToken::new();
                sqs_intake::once(&queue, &self.clock, handler, &stop).await.unwrap();
            }
        }
    }

    /// Handles batches until `is_enough`.
    pub(super) async fn rounds(&self, handler: &impl Handler, is_enough: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_enough() {
            assert!(begun.elapsed() < DEADLINE, "the expected state is not reached");
            self.round(handler).await;
        }
    }

    /// Waits until received messages are visible again.
    pub(super) async fn end_visibility(&self) {
        match &self.queues {
            AllQueues::Tables(_) => self.clock.advance(Duration::from_secs(30)),
            AllQueues::Sqs(_) => {
                tokio::time::sleep(TIMINGS.visibility + Duration::from_millis(500)).await;
            }
        }
    }

    /// Whether the queue is empty, also after the visibility timeout.
    pub(super) async fn is_empty(&self) -> bool {
        self.end_visibility().await;
        self.receive().await.is_empty()
    }

    pub(super) async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.list(&Selection::default(), 0, 100).await.unwrap()
    }

    /// Makes dead letters of these unreadable bodies, in this order.
    pub(super) async fn make_dead_letters(&self, bodies: &[&str]) {
        for body in bodies {
            self.make_dead_letter_in(CATALOG_QUEUE, body).await;
        }
    }

    pub(super) async fn make_dead_letter_in(&self, queue: &str, body: &str) {
        let before = self.dead_letters().await.len();
        self.plant(queue, body).await;
        let handler = ByPosition::new(|_| Ok(()));
        let begun = Instant::now();
        while self.dead_letters().await.len() <= before {
            assert!(begun.elapsed() < DEADLINE, "it does not become a dead letter");
            self.round_of(queue, &handler).await;
        }
    }

    /// The audit: actor, action and dead letter of each row.
    pub(super) async fn audit(&self) -> Vec<(String, String, i64)> {
        let rows = sqlx::query_as(
            "select actor, action, dead_letter_id from bus.dead_letter_audit order by id",
        );
        rows.fetch_all(&self.database.pool).await.unwrap()
    }
}
