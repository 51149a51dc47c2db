//! One suite over both buses and their queues: the guarantees for producers, consumers and
//! operators.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use shared::bus::aws::{EventBridge, SqsDeadLetters, SqsQueue, SqsTimings};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::message::QueueDepth;
use shared::bus::postgres::{PgBus, Queue, Queues};
use shared::bus::selection::{Action, DeadLetter, Selection};
use shared::bus::{self, Bus, Outbound, Publish as _};
use shared::clock::Clock;
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::contract::routes::{self, CATALOG_QUEUE};
use shared::host::intake::{self, Failure, Handler};
use shared::host::sqs_intake;
use shared::id::{EventId, UserId};
use testkit::{Messaging, Ministack, TestDatabase, database};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::handlers::{ByPosition, inventory_event};
use crate::second_producer::{PARCEL_QUEUE, TWO_PRODUCERS};

/// Timeout on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_mins(1);

const OPERATOR: UserId = UserId::from_u128(9);

/// Delays short enough for a test: SQS has its own clock.
const TIMINGS: SqsTimings = SqsTimings {
    visibility: Duration::from_secs(2),
    long_poll: Duration::from_secs(1),
    pause: Duration::ZERO,
    after_outage: Duration::ZERO,
};

/// A bus with the queues of two producers, and their dead letters. Unless a method takes a queue, it
/// uses the catalogue's.
pub(crate) struct TestBed {
    bus: Bus,
    queues: AllQueues,
    clock: Clock,
    dead_letters: DeadLetters,
    database: TestDatabase,
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
    async fn postgres() -> Self {
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
    async fn aws() -> Option<Self> {
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
    async fn publish(&self, positions: impl IntoIterator<Item = i64>) {
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
    async fn plant(&self, queue: &str, body: &str) {
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
    async fn receive(&self) -> Vec<Value> {
        let bodies = self.receive_bodies(CATALOG_QUEUE).await;
        bodies.iter().map(|body| serde_json::from_str(body).unwrap_or_default()).collect()
    }

    async fn receive_bodies(&self, queue: &str) -> Vec<String> {
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
    async fn round(&self, handler: &impl Handler) {
        self.round_of(CATALOG_QUEUE, handler).await;
    }

    async fn round_of(&self, queue: &str, handler: &impl Handler) {
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
    async fn rounds(&self, handler: &impl Handler, is_enough: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_enough() {
            assert!(begun.elapsed() < DEADLINE, "the expected state is not reached");
            self.round(handler).await;
        }
    }

    /// Waits until received messages are visible again.
    async fn end_visibility(&self) {
        match &self.queues {
            AllQueues::Tables(_) => self.clock.advance(Duration::from_secs(30)),
            AllQueues::Sqs(_) => {
                tokio::time::sleep(TIMINGS.visibility + Duration::from_millis(500)).await;
            }
        }
    }

    /// Whether the queue is empty, also after the visibility timeout.
    async fn is_empty(&self) -> bool {
        self.end_visibility().await;
        self.receive().await.is_empty()
    }

    async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.list(&Selection::default(), 0, 100).await.unwrap()
    }

    /// Makes dead letters of these unreadable bodies, in this order.
    async fn make_dead_letters(&self, bodies: &[&str]) {
        for body in bodies {
            self.make_dead_letter_in(CATALOG_QUEUE, body).await;
        }
    }

    async fn make_dead_letter_in(&self, queue: &str, body: &str) {
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
    async fn audit(&self) -> Vec<(String, String, i64)> {
        let rows = sqlx::query_as(
            "select actor, action, dead_letter_id from bus.dead_letter_audit order by id",
        );
        rows.fetch_all(&self.database.pool).await.unwrap()
    }
}

/// Runs every test over each bus.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::TestBed::postgres().await).await;
            })*
        }
        mod eventbridge_and_sqs {
            $(#[tokio::test]
            async fn $name() {
                if let Some(bed) = super::TestBed::aws().await {
                    super::$name(bed).await;
                }
            })*
        }
    };
}

conformance! {
    every_published_event_is_handled_and_then_gone
    message_is_redelivered_after_its_consumer_crashed
    only_failed_messages_of_a_batch_are_redelivered
    unreadable_message_is_a_dead_letter_and_blocks_no_other
    event_of_unknown_type_is_ignored
    long_outage_of_a_store_makes_no_dead_letter
    message_that_keeps_failing_is_a_dead_letter_with_reason
    redriven_dead_letter_gets_all_its_attempts_again
    only_selected_dead_letters_are_settled
    reading_dead_letters_does_not_change_them
    depth_counts_visible_in_flight_and_dead_messages
    dead_letters_of_every_queue_are_listed_oldest_first
    dead_letters_of_every_queue_are_redriven_to_their_own
    only_dead_letters_of_the_selected_queue_are_settled
    each_queue_has_its_own_depth
}

async fn every_published_event_is_handled_and_then_gone(bed: TestBed) {
    bed.publish(1..=25).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || accepting.seen().len() >= 25).await;
    // At least once: SQS may duplicate.
    let seen: BTreeSet<i64> = accepting.seen().into_iter().collect();
    assert_eq!(seen, (1..=25).collect());
    assert!(bed.is_empty().await);
    assert_eq!(bed.dead_letters().await, []);
}

async fn message_is_redelivered_after_its_consumer_crashed(bed: TestBed) {
    bed.publish([1]).await;
    let begun = Instant::now();
    let mut received = Vec::new();
    while received.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "the message does not arrive");
        received = bed.receive().await;
    }
    assert_eq!(received, [inventory_event(1)]);
    assert_eq!(bed.receive().await, Vec::<Value>::new(), "it is invisible");
    bed.end_visibility().await;
    assert_eq!(bed.receive().await, [inventory_event(1)]);
}

async fn only_failed_messages_of_a_batch_are_redelivered(bed: TestBed) {
    bed.publish(1..=6).await;
    let picky = ByPosition::new(|position| match position % 3 {
        0 => Err(Failure::Failed("a multiple of three".to_owned())),
        _ => Ok(()),
    });
    // Without a backoff, failed messages return at once: handle until all were seen.
    bed.rounds(&picky, || (1..=6).all(|position| picky.seen().contains(&position))).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || accepting.seen().len() >= 2).await;
    let mut seen = accepting.seen();
    // Queues promise no order.
    seen.sort_unstable();
    assert_eq!(seen, [3, 6]);
    assert!(bed.is_empty().await);
}

async fn unreadable_message_is_a_dead_letter_and_blocks_no_other(bed: TestBed) {
    bed.plant(CATALOG_QUEUE, "no event").await;
    bed.publish([2]).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    bed.round(&accepting).await;
    assert_eq!(accepting.seen(), [2]);
    let dead_letters = bed.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    assert!(dead_letters[0].reason.starts_with("unreadable: "), "{}", dead_letters[0].reason);
    let (_, body) = bed.dead_letters.find(dead_letters[0].id).await.unwrap().unwrap();
    assert_eq!(body, "no event");
    assert!(bed.is_empty().await);
}

async fn event_of_unknown_type_is_ignored(bed: TestBed) {
    let unknown = inventory_event(1).to_string().replace("ProductUpdated", "FromTheFuture");
    bed.plant(CATALOG_QUEUE, &unknown).await;
    bed.publish([2]).await;
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    assert!(bed.is_empty().await);
    assert_eq!((accepting.seen(), bed.dead_letters().await), (vec![2], vec![]));
}

async fn depth_counts_visible_in_flight_and_dead_messages(bed: TestBed) {
    bed.make_dead_letters(&["no event"]).await;
    // The counts of SQS are delayed.
    let until = async |what: &str, is_so: fn(&QueueDepth) -> bool, receives: bool| {
        let begun = Instant::now();
        loop {
            if receives {
                // Each time: a message is in flight only for its visibility timeout.
                bed.receive().await;
            }
            let depth = bed.dead_letters.depths().await.unwrap().remove(0);
            if is_so(&depth) && depth.dead_letters == 1 {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "not {what}: {depth:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("one dead letter alone", |depth| depth.visible + depth.in_flight == 0, false).await;
    bed.publish(1..=3).await;
    until("three that wait", |depth| (depth.visible, depth.in_flight) == (3, 0), false).await;
    let in_flight =
        |depth: &QueueDepth| depth.in_flight > 0 && depth.visible + depth.in_flight == 3;
    until("some in flight", in_flight, true).await;
}

async fn long_outage_of_a_store_makes_no_dead_letter(bed: TestBed) {
    bed.publish([1]).await;
    let unavailable = ByPosition::new(|_| Err(Failure::Unavailable("no response".to_owned())));
    bed.rounds(&unavailable, || unavailable.seen().len() >= 20).await;
    assert_eq!(bed.dead_letters().await, []);
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    assert!(bed.is_empty().await);
}

async fn message_that_keeps_failing_is_a_dead_letter_with_reason(bed: TestBed) {
    bed.publish([1]).await;
    let failing =
        ByPosition::new(|_| Err(Failure::Failed("it cannot be \u{0}\u{ffff}".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    assert!(bed.is_empty().await);
    assert_eq!(failing.seen().len(), 5);
    let dead_letters = bed.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    let dead_letter = &dead_letters[0];
    assert!(dead_letter.reason.starts_with("it cannot be "), "{}", dead_letter.reason);
    let about = (dead_letter.attempts, dead_letter.event_type.as_str());
    assert_eq!(about, (5, "ProductUpdated"));
    assert!(dead_letter.dead_at >= dead_letter.sent_at);
}

async fn redriven_dead_letter_gets_all_its_attempts_again(bed: TestBed) {
    bed.publish([1]).await;
    let failing = ByPosition::new(|_| Err(Failure::Failed("not yet".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    let dead_letter = bed.dead_letters().await.remove(0);
    let all = Selection::default();
    let now = bed.clock.now();
    let settled =
        bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    assert_eq!((settled, bed.dead_letters().await), (1, vec![]));
    assert_eq!(bed.audit().await, [(OPERATOR.to_string(), "redrive".to_owned(), dead_letter.id)]);
    // Attempts are counted from one again.
    let failing = ByPosition::new(|_| Err(Failure::Failed("not yet".to_owned())));
    bed.rounds(&failing, || failing.seen().len() >= 5).await;
    let again = bed.dead_letters().await.remove(0);
    assert_eq!((again.attempts, again.event_id), (5, dead_letter.event_id));
    bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    let accepting = ByPosition::new(|_| Ok(()));
    bed.rounds(&accepting, || !accepting.seen().is_empty()).await;
    assert!(bed.is_empty().await);
}

async fn only_selected_dead_letters_are_settled(bed: TestBed) {
    let typed = |name: &str| format!(r#"{{"specversion": "1.0", "type": "{name}"}}"#);
    let bodies = [typed("StockChanged"), typed("ProductUpdated"), "no JSON".to_owned()];
    bed.make_dead_letters(&[&bodies[0], &bodies[1], &bodies[2], &bodies[0]]).await;
    let dead_letters = bed.dead_letters().await;
    assert!(dead_letters.is_sorted_by_key(|dead| dead.id));
    let stock = Selection { reason: Some("missing field".to_owned()), ..Selection::default() };
    assert_eq!(bed.dead_letters.count(&stock).await.unwrap(), 3);
    let one = Selection { ids: Some(vec![dead_letters[2].id]), ..Selection::default() };
    let now = bed.clock.now();
    let discard = Action::Discard;
    assert_eq!(bed.dead_letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 1);
    assert_eq!(bed.dead_letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 0);
    assert_eq!(bed.dead_letters.settle(&stock, Some(2), discard, OPERATOR, now).await.unwrap(), 2);
    let left: Vec<i64> = bed.dead_letters().await.iter().map(|dead| dead.id).collect();
    assert_eq!(left, [dead_letters[3].id], "the oldest are settled first");
    let before = Selection { before: Some(dead_letters[3].dead_at), ..Selection::default() };
    assert_eq!(bed.dead_letters.count(&before).await.unwrap(), 0);
    assert_eq!(bed.audit().await.len(), 3);
    assert!(bed.is_empty().await, "a discarded message is not redelivered");
}

async fn reading_dead_letters_does_not_change_them(bed: TestBed) {
    bed.make_dead_letters(&["one", "two"]).await;
    let first = bed.dead_letters().await;
    for _ in 0..8 {
        assert_eq!(bed.dead_letters().await, first);
    }
    let page = bed.dead_letters.list(&Selection::default(), first[0].id, 10).await.unwrap();
    assert_eq!(page, first[1..]);
    assert_eq!(bed.dead_letters.find(i64::MAX).await.unwrap(), None);
}

/// The queue and the body of each dead letter, oldest first.
async fn dead_letters_in_order(bed: &TestBed) -> Vec<(String, String)> {
    let mut found_all = Vec::new();
    for dead_letter in bed.dead_letters().await {
        let (found, body) = bed.dead_letters.find(dead_letter.id).await.unwrap().unwrap();
        assert_eq!(found, dead_letter);
        found_all.push((found.queue, body));
    }
    found_all
}

fn dead_letter(queue: &str, body: &str) -> (String, String) {
    (queue.to_owned(), body.to_owned())
}

async fn dead_letters_of_every_queue_are_listed_oldest_first(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    bed.make_dead_letters(&["three"]).await;
    let all = [
        dead_letter(CATALOG_QUEUE, "one"),
        dead_letter(PARCEL_QUEUE, "two"),
        dead_letter(CATALOG_QUEUE, "three"),
    ];
    assert_eq!(dead_letters_in_order(&bed).await, all);
    // In pages of one, each after the last id of the page before.
    let (mut after, mut pages) = (0, Vec::new());
    while let Some(dead) =
        bed.dead_letters.list(&Selection::default(), after, 1).await.unwrap().pop()
    {
        after = dead.id;
        pages.push(dead.queue);
    }
    assert_eq!(pages, [CATALOG_QUEUE, PARCEL_QUEUE, CATALOG_QUEUE]);
}

async fn dead_letters_of_every_queue_are_redriven_to_their_own(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    let (all, now) = (Selection::default(), bed.clock.now());
    let redriven = bed.dead_letters.settle(&all, None, Action::Redrive, OPERATOR, now).await;
    assert_eq!((redriven.unwrap(), bed.dead_letters().await), (2, vec![]));
    assert_eq!(bed.receive_bodies(CATALOG_QUEUE).await, ["one"]);
    assert_eq!(bed.receive_bodies(PARCEL_QUEUE).await, ["two"]);
    assert_eq!(audited_queues(&bed).await, [CATALOG_QUEUE, PARCEL_QUEUE]);
}

/// The queue of each row of the audit.
async fn audited_queues(bed: &TestBed) -> Vec<String> {
    sqlx::query_scalar("select queue from bus.dead_letter_audit order by id")
        .fetch_all(&bed.database.pool)
        .await
        .unwrap()
}

async fn only_dead_letters_of_the_selected_queue_are_settled(bed: TestBed) {
    bed.make_dead_letters(&["one"]).await;
    bed.make_dead_letter_in(PARCEL_QUEUE, "two").await;
    let parcels = Selection { queue: Some(PARCEL_QUEUE.to_owned()), ..Selection::default() };
    let listed = bed.dead_letters.list(&parcels, 0, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].queue.as_str()), (1, PARCEL_QUEUE));
    assert_eq!(bed.dead_letters.count(&parcels).await.unwrap(), 1);
    let now = bed.clock.now();
    let discarded = bed.dead_letters.settle(&parcels, None, Action::Discard, OPERATOR, now).await;
    assert_eq!(discarded.unwrap(), 1);
    assert_eq!(dead_letters_in_order(&bed).await, [dead_letter(CATALOG_QUEUE, "one")]);
    assert_eq!(audited_queues(&bed).await, [PARCEL_QUEUE]);
    let unknown = Selection { queue: Some("unknown".to_owned()), ..Selection::default() };
    assert_eq!(bed.dead_letters.list(&unknown, 0, 10).await.unwrap(), []);
}

async fn each_queue_has_its_own_depth(bed: TestBed) {
    bed.make_dead_letter_in(PARCEL_QUEUE, "dead").await;
    bed.plant(CATALOG_QUEUE, "waits").await;
    let begun = Instant::now();
    loop {
        let depths = bed.dead_letters.depths().await.unwrap();
        let queues: Vec<&str> = depths.iter().map(|depth| depth.queue.as_str()).collect();
        assert_eq!(queues, routes::queues(TWO_PRODUCERS));
        let counts: Vec<_> =
            depths.iter().map(|depth| (depth.visible, depth.dead_letters)).collect();
        if counts == [(1, 0), (0, 1), (0, 0)] {
            return;
        }
        // The counts of SQS are delayed.
        assert!(begun.elapsed() < DEADLINE, "the counts are never right: {depths:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
