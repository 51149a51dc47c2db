//! A bus with the queues of two producers, over PostgreSQL or over EventBridge and SQS.

use std::sync::Mutex;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use shared::bus::aws::{EventBridge, SqsDeadLetters, SqsMessage, SqsQueue, SqsTimings};
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
use testkit::{Messaging, Ministack, NO_TIMEOUT, TestDatabase, database, eventually, within};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::handlers::{ByPosition, PATIENT_BUS, inventory_event};
use crate::second_producer::{PARCEL_QUEUE, TWO_PRODUCERS};

pub(super) const OPERATOR: UserId = UserId::from_u128(9);

/// SQS has its own clock: a failed message returns at once, and a received one only when the test says
/// so.
const TIMINGS: SqsTimings = SqsTimings {
    visibility: Duration::from_hours(1),
    long_poll: Duration::from_secs(1),
    pause: Duration::ZERO,
    after_outage: Duration::ZERO,
    call: NO_TIMEOUT,
};

/// A bus with the queues of two producers, and their dead letters. Unless a method takes a queue, it
/// uses the catalogue's.
pub(super) struct TestBed {
    bus: Bus,
    queues: AllQueues,
    pub(super) clock: Clock,
    pub(super) dead_letters: DeadLetters,
    pub(super) database: TestDatabase,
    /// The receipts of messages that were received and not settled, each with the URL of its queue.
    unsettled: Mutex<Vec<(String, String)>>,
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
            unsettled: Mutex::default(),
        }
    }

    pub(super) async fn aws() -> Self {
        let messaging = Ministack::of_this_process().messaging(TWO_PRODUCERS).await;
        let database = database(&[&bus::MIGRATOR]).await;
        let (environment, clock) = (&messaging.environment, Clock::System);
        let bus = EventBridge::with_timeouts(environment, &messaging.bus, PATIENT_BUS);
        let queues = messaging.queues();
        let dead_letters = SqsDeadLetters::new(environment, &clock, &queues, database.pool.clone());
        let dead_letters = dead_letters.with_timings(TIMINGS);
        Self {
            bus: Bus::EventBridge(bus),
            queues: AllQueues::Sqs(Box::new(messaging)),
            clock,
            dead_letters: DeadLetters::Sqs(dead_letters),
            database,
            unsettled: Mutex::default(),
        }
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

    /// Receives messages without settling them, as a consumer that crashes does, if there are any. A bus
    /// may reformat an event, so this returns the parsed events.
    pub(super) async fn receive(&self) -> Vec<Value> {
        let bodies = self.receive_bodies(CATALOG_QUEUE).await;
        bodies.iter().map(|body| serde_json::from_str(body).unwrap_or_default()).collect()
    }

    /// As [`TestBed::receive`], once there are messages.
    pub(super) async fn receive_some(&self) -> Vec<Value> {
        eventually("a message arrives", async || {
            Some(self.receive().await).filter(|received| !received.is_empty())
        })
        .await
    }

    pub(super) async fn receive_bodies(&self, name: &str) -> Vec<String> {
        match self.messages(name) {
            Messages::Table(queue) => {
                let received = queue.receive(100).await.unwrap();
                received.into_iter().map(|message| message.body).collect()
            }
            Messages::Sqs(queue) => {
                let received = queue.receive().await.unwrap();
                self.remember(name, &received);
                received.into_iter().map(|message| message.event().to_owned()).collect()
            }
        }
    }

    fn remember(&self, queue: &str, received: &[SqsMessage]) {
        if let AllQueues::Sqs(messaging) = &self.queues {
            let url = &messaging.queue(queue).queue;
            let receipts = received.iter().map(|message| (url.clone(), message.receipt.clone()));
            self.unsettled.lock().unwrap().extend(receipts);
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
        let handling = async {
            while !is_enough() {
                self.round(handler).await;
            }
        };
        within("the expected state", handling).await;
    }

    /// Makes messages visible again that were received and not settled.
    pub(super) async fn end_visibility(&self) {
        match &self.queues {
            AllQueues::Tables(_) => self.clock.advance(Duration::from_secs(30)),
            AllQueues::Sqs(messaging) => {
                let client = aws_sdk_sqs::Client::new(&messaging.environment);
                let unsettled = std::mem::take(&mut *self.unsettled.lock().unwrap());
                for (url, receipt) in unsettled {
                    let change = client.change_message_visibility().queue_url(url);
                    let change = change.receipt_handle(receipt).visibility_timeout(0);
                    change.send().await.unwrap();
                }
            }
        }
    }

    /// Waits until the queue has no message: none that can be received, and none that is in flight or
    /// waits for another attempt.
    pub(super) async fn becomes_empty(&self) {
        eventually("an empty queue", async || {
            let depths = self.dead_letters.depths().await.unwrap();
            let depth = depths.into_iter().find(|depth| depth.queue == CATALOG_QUEUE).unwrap();
            (depth.visible + depth.in_flight == 0).then_some(())
        })
        .await;
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
        let burying = async {
            while self.dead_letters().await.len() <= before {
                self.round_of(queue, &handler).await;
            }
        };
        within("one more dead letter", burying).await;
    }

    /// The audit: actor, action and dead letter of each row.
    pub(super) async fn audit(&self) -> Vec<(String, String, i64)> {
        let rows = sqlx::query_as(
            "select actor, action, dead_letter_id from bus.dead_letter_audit order by id",
        );
        rows.fetch_all(&self.database.pool).await.unwrap()
    }
}
