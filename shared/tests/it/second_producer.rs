//! A second producer with its own events, outbox and queues. Bus, relay and intake must work for
//! every producer, not only for inventory.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::bus::aws::{EventBridge, SqsQueue, SqsTimings};
use shared::bus::postgres::{PgBus, Queue};
use shared::bus::{self, Bus, Outbound, Publish};
use shared::clock::Clock;
use shared::contract::envelope::Event;
use shared::contract::inventory;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES, Route, Types, misrouted_commands};
use shared::host::intake::{self, Delivery, Failure, Handler};
use shared::host::sqs_intake;
use shared::host::tick::Progress;
use shared::id::{EventId, RequestId};
use shared::outbox::{Backlog, Claimed, Entry, MAX_DELAY, Outbox, Relay, RelayError};
use sqlx::{PgConnection, PgPool};
use testkit::{
    FaultyBus, Messaging, Ministack, NO_TIMEOUT, PATIENT_RELAY, Rates, TestDatabase, database,
    within,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::handlers::{ByPosition, PATIENT_BUS, inventory_event};

pub(crate) const PARCEL_QUEUE: &str = "parcels";
const COURIER_QUEUE: &str = "couriers";

/// Inventory's route, and those of the second producer.
pub(crate) const TWO_PRODUCERS: &[Route] = &[
    ROUTES[0],
    Route {
        queue: PARCEL_QUEUE,
        source: ParcelEvent::SOURCE,
        types: Types::Only(&["ParcelSent", "ParcelLost"]),
    },
    Route {
        queue: COURIER_QUEUE,
        source: ParcelEvent::SOURCE,
        types: Types::Only(&["BookCourier"]),
    },
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(crate) enum ParcelEvent {
    ParcelSent {
        id: Uuid,
        version: i64,
    },
    ParcelLost {
        id: Uuid,
        version: i64,
    },
    /// A command.
    BookCourier {
        id: Uuid,
        version: i64,
    },
}

impl Event for ParcelEvent {
    const SOURCE: &'static str = "test/parcels";
    const SCHEMA_VERSION: i32 = 3;
    const TYPES: &'static [&'static str] = &["ParcelSent", "ParcelLost", "BookCourier"];
    const COMMANDS: &'static [&'static str] = &["BookCourier"];

    fn type_name(&self) -> &'static str {
        match self {
            Self::ParcelSent { .. } => "ParcelSent",
            Self::ParcelLost { .. } => "ParcelLost",
            Self::BookCourier { .. } => "BookCourier",
        }
    }

    fn aggregate_id(&self) -> Option<Uuid> {
        Some(self.parts().0)
    }

    fn versions(&self) -> impl Iterator<Item = i64> {
        std::iter::once(self.parts().1)
    }
}

impl ParcelEvent {
    fn parts(&self) -> (Uuid, i64) {
        match self {
            Self::ParcelSent { id, version }
            | Self::ParcelLost { id, version }
            | Self::BookCourier { id, version } => (*id, *version),
        }
    }
}

/// An outbox that holds its events itself, without a journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParcelOutbox;

const SCHEMA: &str = "
    create schema parcels;
    create table parcels.outbox (
        position bigint generated always as identity primary key,
        event_id uuid not null,
        subject uuid not null,
        event text not null,
        committed_at timestamptz not null,
        not_before timestamptz
    )";

type OutboxRow = (i64, EventId, Uuid, String, DateTime<Utc>);

impl Outbox for ParcelOutbox {
    type Event = ParcelEvent;

    async fn claim(
        &self,
        transaction: &mut PgConnection,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Claimed>, sqlx::Error> {
        let rows: Vec<OutboxRow> = sqlx::query_as(
            "select position, event_id, subject, event, committed_at from parcels.outbox
             where not_before is null or not_before <= $1 or not_before > $3
             order by position limit $2 for update skip locked",
        )
        .bind(now)
        .bind(limit)
        .bind(now + MAX_DELAY)
        .fetch_all(transaction)
        .await?;
        let claimed = rows.into_iter().map(|(position, event_id, subject, event, committed_at)| {
            let entry = Entry {
                event_id,
                event,
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
                request_id: RequestId::nil(),
                requested_at: committed_at,
                committed_at,
            };
            Claimed { position, subject, pointed_at: committed_at, entry: Some(entry) }
        });
        Ok(claimed.collect())
    }

    async fn delete(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
    ) -> Result<(), sqlx::Error> {
        let delete = sqlx::query("delete from parcels.outbox where position = any($1)");
        delete.bind(positions).execute(transaction).await?;
        Ok(())
    }

    async fn put_off(
        &self,
        transaction: &mut PgConnection,
        positions: &[i64],
        not_before: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        let update =
            sqlx::query("update parcels.outbox set not_before = $2 where position = any($1)");
        update.bind(positions).bind(not_before).execute(transaction).await?;
        Ok(())
    }

    async fn backlog(&self, pool: &PgPool) -> Result<Backlog, sqlx::Error> {
        let count = sqlx::query_as("select count(*), min(committed_at) from parcels.outbox");
        let (pending, oldest_committed_at) = count.fetch_one(pool).await?;
        Ok(Backlog { pending, oldest_committed_at, requested: 0 })
    }
}

/// Records the events that it handles.
#[derive(Default)]
struct Seen(Mutex<Vec<ParcelEvent>>);

impl Seen {
    fn events(&self) -> Vec<ParcelEvent> {
        let mut events = self.0.lock().unwrap().clone();
        // At least once, in any order.
        events.sort_by_key(ParcelEvent::parts);
        events.dedup();
        events
    }
}

impl Handler for Seen {
    type Event = ParcelEvent;

    const SPAN: &'static str = "see";

    async fn handle(&self, deliveries: &[Delivery<ParcelEvent>]) -> Vec<Result<(), Failure>> {
        let events = deliveries.iter().map(|delivery| delivery.envelope.event.clone());
        self.0.lock().unwrap().extend(events);
        vec![Ok(()); deliveries.len()]
    }
}

pub(crate) fn sent(n: u128) -> ParcelEvent {
    ParcelEvent::ParcelSent { id: Uuid::from_u128(n), version: 1 }
}

/// Commits events as the producer does.
pub(crate) async fn commit(pool: &PgPool, now: DateTime<Utc>, events: &[ParcelEvent]) {
    for event in events {
        let insert = sqlx::query(
            "insert into parcels.outbox (event_id, subject, event, committed_at)
             values (gen_random_uuid(), $1, $2, $3)",
        );
        let (subject, json) = (event.parts().0, serde_json::to_string(event).unwrap());
        insert.bind(subject).bind(json).bind(now).execute(pool).await.unwrap();
    }
}

/// Both producers' queues behind one bus.
struct TestBed {
    database: TestDatabase,
    clock: Clock,
    bus: Bus,
    aws: Option<Messaging>,
}

impl TestBed {
    async fn postgres() -> Self {
        let (database, clock) = (producer_database().await, fixed_clock());
        let bus = PgBus::new(database.pool.clone(), clock.clone(), TWO_PRODUCERS);
        Self { database, clock, bus: Bus::Postgres(bus), aws: None }
    }

    async fn aws() -> Self {
        let messaging = Ministack::of_this_process().messaging(TWO_PRODUCERS).await;
        let environment = &messaging.environment;
        let bus = EventBridge::with_timeouts(environment, &messaging.bus, PATIENT_BUS);
        let database = producer_database().await;
        let bus = Bus::EventBridge(bus);
        Self { database, clock: Clock::System, bus, aws: Some(messaging) }
    }

    fn relay(&self) -> Relay<ParcelOutbox> {
        let (pool, clock) = (self.database.pool.clone(), self.clock.clone());
        Relay::new(ParcelOutbox, pool, self.bus.clone(), clock).with_timeouts(PATIENT_RELAY)
    }

    /// Handles one batch of `queue`.
    async fn round(&self, queue: &str, handler: &impl Handler) {
        if let Some(messaging) = &self.aws {
            let config = messaging.queue(queue);
            let poll = SqsTimings {
                long_poll: Duration::from_secs(1),
                call: NO_TIMEOUT,
                ..SqsTimings::default()
            };
            let queue = SqsQueue::new(&messaging.environment, self.clock.clone(), config);
            let (queue, stop) = (queue.with_timings(poll), CancellationToken::new());
            sqs_intake::once(&queue, &self.clock, handler, &stop).await.unwrap();
        } else {
            let queue = Queue::new(self.database.pool.clone(), self.clock.clone(), queue);
            intake::once(&queue, &self.clock, handler).await.unwrap();
        }
    }

    /// Handles batches of `queue` until as many different events as this came.
    async fn receive(&self, queue: &str, count: usize) -> Vec<ParcelEvent> {
        let seen = Seen::default();
        let receiving = async {
            while seen.events().len() < count {
                self.round(queue, &seen).await;
            }
        };
        within("the events of a queue", receiving).await;
        // One more round: no other event may follow.
        self.round(queue, &seen).await;
        seen.events()
    }
}

pub(crate) fn fixed_clock() -> Clock {
    Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

/// A database with the outbox of the second producer and the tables of the bus.
pub(crate) async fn producer_database() -> TestDatabase {
    let database = database(&[&bus::MIGRATOR]).await;
    sqlx::raw_sql(SCHEMA).execute(&database.pool).await.unwrap();
    database
}

macro_rules! over_each_bus {
    ($($name:ident)*) => {
        mod over_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::TestBed::postgres().await).await;
            })*
        }
        mod over_eventbridge_and_sqs {
            testkit::emulator_tests! {
                $(async fn $name() {
                    super::$name(super::TestBed::aws().await).await;
                })*
            }
        }
    };
}

over_each_bus! {
    events_reach_the_consumer_of_their_producer_alone
    command_reaches_exactly_one_queue
}

async fn events_reach_the_consumer_of_their_producer_alone(bed: TestBed) {
    let mut events: Vec<ParcelEvent> = (1..=12).map(sent).collect();
    events.push(ParcelEvent::ParcelLost { id: Uuid::from_u128(20), version: 2 });
    commit(&bed.database.pool, bed.clock.now(), &events).await;
    let relay = bed.relay();
    relay.drain(Instant::now() + NO_TIMEOUT).await.unwrap();
    let backlog = relay.measure().await.unwrap();
    assert_eq!((backlog.pending, backlog.oldest_committed_at), (0, None));
    // The event of the other producer goes to its own queue.
    let product_updated = Outbound {
        event_id: EventId::from_u128(7),
        source: inventory::Event::SOURCE,
        event_type: "ProductUpdated",
        subject: Uuid::from_u128(7),
        body: inventory_event(7).to_string(),
    };
    assert_eq!(bed.bus.publish(&[product_updated]).await.unwrap(), [Ok(())]);

    assert_eq!(bed.receive(PARCEL_QUEUE, events.len()).await, events);
    // The projector ignores types that it does not know: only reading as `ParcelEvent` shows that no
    // event of the second producer is here.
    let catalogue = ByPosition::new(|_| Ok(()));
    let receiving = async {
        while catalogue.seen().is_empty() {
            bed.round(CATALOG_QUEUE, &catalogue).await;
        }
    };
    within("an event of the catalogue", receiving).await;
    assert_eq!(catalogue.seen(), [7]);
    let parcels = Seen::default();
    bed.round(CATALOG_QUEUE, &parcels).await;
    assert_eq!(parcels.events(), []);
}

async fn command_reaches_exactly_one_queue(bed: TestBed) {
    let command = ParcelEvent::BookCourier { id: Uuid::from_u128(1), version: 1 };
    commit(&bed.database.pool, bed.clock.now(), &[command.clone(), sent(2)]).await;
    bed.relay().drain(Instant::now() + NO_TIMEOUT).await.unwrap();
    assert_eq!(bed.receive(COURIER_QUEUE, 1).await, [command]);
    assert_eq!(bed.receive(PARCEL_QUEUE, 1).await, [sent(2)]);
}

#[test]
fn routes_give_each_command_exactly_one_queue() {
    assert!(misrouted_commands::<ParcelEvent>(TWO_PRODUCERS).is_empty());
    assert_eq!(misrouted_commands::<ParcelEvent>(ROUTES), ["BookCourier"], "no queue takes it");
    let all = Route { queue: "audit", source: ParcelEvent::SOURCE, types: Types::All };
    let twice = [TWO_PRODUCERS, &[all]].concat();
    assert_eq!(misrouted_commands::<ParcelEvent>(&twice), ["BookCourier"], "two queues take it");
}

#[tokio::test]
async fn catalogue_queue_stays_empty_when_parcels_are_published() {
    let bed = TestBed::postgres().await;
    commit(&bed.database.pool, bed.clock.now(), &[sent(1), sent(2)]).await;
    assert_eq!(bed.relay().once().await.unwrap(), Progress::Idle);
    let depth = async |queue: &str| {
        let queue = Queue::new(bed.database.pool.clone(), bed.clock.clone(), queue);
        queue.depth().await.unwrap().visible
    };
    assert_eq!((depth(PARCEL_QUEUE).await, depth(CATALOG_QUEUE).await), (2, 0));
}

#[tokio::test]
async fn envelope_names_its_producer_and_schema_version() {
    let bed = TestBed::postgres().await;
    commit(&bed.database.pool, bed.clock.now(), &[sent(1)]).await;
    bed.relay().once().await.unwrap();
    let queue = Queue::new(bed.database.pool.clone(), bed.clock.clone(), PARCEL_QUEUE);
    let body = queue.receive(1).await.unwrap().remove(0).body;
    let envelope: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(envelope["source"], "test/parcels");
    assert_eq!(
        (&envelope["type"], envelope["schemaversion"].as_i64()),
        (&"ParcelSent".into(), Some(3))
    );
    assert_eq!(envelope["data"], serde_json::json!({"id": Uuid::from_u128(1), "version": 1}));
}

#[tokio::test]
async fn refused_events_wait_and_are_published_later() {
    let (database, clock) = (producer_database().await, fixed_clock());
    let events: Vec<ParcelEvent> = (1..=30).map(sent).collect();
    commit(&database.pool, clock.now(), &events).await;
    let inner = PgBus::new(database.pool.clone(), clock.clone(), TWO_PRODUCERS);
    let faulty = FaultyBus::new(inner, 5, Rates { refused: 40, ..Rates::each(0) });
    let relay = Relay::new(ParcelOutbox, database.pool.clone(), faulty.clone(), clock.clone());
    let relay = relay.with_timeouts(PATIENT_RELAY);
    relay.once().await.unwrap();
    let refused = i64::from(faulty.faults());
    assert!(refused > 0);
    assert_eq!(relay.measure().await.unwrap().pending, refused);
    // They back off for a second, in which other events are published first.
    faulty.stop_faults().await.unwrap();
    relay.once().await.unwrap();
    assert_eq!(relay.measure().await.unwrap().pending, refused);
    let error = relay.drain(Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::Pending { pending, requested: 0 } if pending == refused));
    clock.advance(Duration::from_millis(999));
    relay.once().await.unwrap();
    assert_eq!(relay.measure().await.unwrap().pending, refused);
    clock.advance(Duration::from_millis(1));
    relay.once().await.unwrap();
    assert_eq!(relay.measure().await.unwrap().pending, 0);
}

#[tokio::test]
async fn unreadable_event_backs_off_and_the_others_are_published() {
    let bed = TestBed::postgres().await;
    commit(&bed.database.pool, bed.clock.now(), &[sent(1), sent(2)]).await;
    let newer = "update parcels.outbox set event = '{\"type\": \"ParcelFolded\", \"data\": {}}'
                 where position = 1";
    sqlx::query(newer).execute(&bed.database.pool).await.unwrap();
    let relay = bed.relay();
    relay.once().await.unwrap();
    assert_eq!(relay.measure().await.unwrap().pending, 1);
    assert_eq!(bed.receive(PARCEL_QUEUE, 1).await, [sent(2)]);
}
