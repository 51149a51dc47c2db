//! A bus and the queue behind it, whichever: everything that whoever publishes, consumes or looks
//! after dead letters may rely on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use shared::bus::dead_letters::{Action, DeadLetter, DeadLetters, Selection};
use shared::bus::queue::{Queue, QueueDepth};
use shared::bus::sqs::{Patience, SqsQueue};
use shared::bus::sqs_dead_letters::SqsDeadLetters;
use shared::bus::{self, Bus, EventBridge, Outbound, PgBus};
use shared::clock::Clock;
use shared::host::intake::{self, Failure, Handler};
use shared::host::sqs_intake;
use testkit::{Messaging, Ministack, TestDatabase, database};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::told::{Told, event};

/// How long something may take on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_mins(1);

const OPERATOR: Uuid = Uuid::from_u128(9);

/// Waits that a test can wait for: SQS has a clock of its own.
const PATIENCE: Patience = Patience {
    visibility: Duration::from_secs(2),
    long_poll: Duration::from_secs(1),
    pause: Duration::ZERO,
    after_outage: Duration::ZERO,
};

/// A bus, its queue and their dead letters.
pub(crate) struct World {
    bus: Bus,
    messages: Messages,
    clock: Clock,
    letters: DeadLetters,
    database: TestDatabase,
}

enum Messages {
    Table(Queue),
    Sqs(SqsQueue, Box<Messaging>),
}

impl World {
    async fn of_the_queue_table() -> Self {
        let database = database(&[&bus::MIGRATOR]).await;
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let pool = database.pool.clone();
        let bus = PgBus::new(pool.clone(), clock.clone(), &["catalog"], std::sync::Arc::default());
        Self {
            bus: Bus::Postgres(bus),
            letters: DeadLetters::Postgres(Queue::new(pool.clone(), clock.clone(), "catalog")),
            messages: Messages::Table(Queue::new(pool, clock.clone(), "catalog")),
            clock,
            database,
        }
    }

    /// None where the emulator is not installed, which it says itself.
    async fn of_eventbridge_and_sqs() -> Option<Self> {
        let messaging = Ministack::of_this_process()?.messaging().await;
        let database = database(&[&bus::MIGRATOR]).await;
        let Messaging { environment, bus, queue, dead_letters } = &messaging;
        let clock = Clock::System;
        let bus = Bus::EventBridge(EventBridge::new(environment, bus));
        let queue =
            SqsQueue::new(environment, clock.clone(), queue, dead_letters).with_patience(PATIENCE);
        let letters = SqsDeadLetters::new(queue.clone(), database.pool.clone());
        Some(Self {
            bus,
            messages: Messages::Sqs(queue, Box::new(messaging)),
            clock,
            letters: DeadLetters::Sqs(letters),
            database,
        })
    }

    /// Publishes the events with these positions.
    async fn publish(&self, positions: impl IntoIterator<Item = i64>) {
        let events: Vec<Outbound> = positions
            .into_iter()
            .map(|position| Outbound {
                event_id: Uuid::from_u128(u128::try_from(position).unwrap()),
                event_type: "ProductUpdated",
                subject: Uuid::from_u128(1),
                body: event(position).to_string(),
            })
            .collect();
        for taken in self.bus.publish(&events).await.unwrap() {
            taken.unwrap();
        }
    }

    /// Puts a message into the queue that no bus would carry.
    async fn plant(&self, body: &str) {
        match &self.messages {
            Messages::Table(_) => {
                let event_id = Uuid::from_u128(1);
                let (event_type, body) = ("ProductUpdated", body.to_owned());
                let event = Outbound { event_id, event_type, subject: event_id, body };
                self.bus.publish(&[event]).await.unwrap();
            }
            Messages::Sqs(_, messaging) => {
                let client = aws_sdk_sqs::Client::new(&messaging.environment);
                let send = client.send_message().queue_url(&messaging.queue);
                send.message_body(body).send().await.unwrap();
            }
        }
    }

    /// Receives messages and does nothing with them, as a consumer does that dies. A bus may write
    /// an event anew, so it is what their events say.
    async fn receive(&self) -> Vec<Value> {
        let bodies: Vec<String> = match &self.messages {
            Messages::Table(queue) => {
                let received = queue.receive(100).await.unwrap();
                received.into_iter().map(|message| message.body).collect()
            }
            Messages::Sqs(queue, _) => {
                let received = queue.receive().await.unwrap();
                received.into_iter().map(|message| message.event().to_owned()).collect()
            }
        };
        bodies.iter().map(|body| serde_json::from_str(body).unwrap_or_default()).collect()
    }

    /// Has one batch handled and settled.
    async fn round(&self, handler: &impl Handler) {
        match &self.messages {
            Messages::Table(queue) => {
                // Long enough for whatever waits for another attempt.
                self.clock.advance(Duration::from_mins(10));
                intake::once(queue, &self.clock, handler).await.unwrap();
            }
            Messages::Sqs(queue, _) => {
                let stop = CancellationToken::new();
                sqs_intake::once(queue, &self.clock, handler, &stop).await.unwrap();
            }
        }
    }

    /// Has batches handled until `is_enough`.
    async fn rounds(&self, handler: &impl Handler, is_enough: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_enough() {
            assert!(begun.elapsed() < DEADLINE, "it does not come about");
            self.round(handler).await;
        }
    }

    /// Lets the visibility of what was received end.
    async fn forget(&self) {
        match &self.messages {
            Messages::Table(_) => self.clock.advance(Duration::from_secs(30)),
            Messages::Sqs(..) => {
                tokio::time::sleep(PATIENCE.visibility + Duration::from_millis(500)).await;
            }
        }
    }

    /// Whether nothing is left in the queue, however long one waits.
    async fn is_empty(&self) -> bool {
        self.forget().await;
        self.receive().await.is_empty()
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        self.letters.list(&Selection::default(), 0, 100).await.unwrap()
    }

    /// Buries these bodies, none of which can be read, in this order.
    async fn bury(&self, bodies: &[&str]) {
        for (nth, body) in bodies.iter().enumerate() {
            self.plant(body).await;
            let nobody = Told::to(|_| Ok(()));
            let begun = Instant::now();
            while self.letters().await.len() <= nth {
                assert!(begun.elapsed() < DEADLINE, "it is not buried");
                self.round(&nobody).await;
            }
        }
    }

    /// What was noted: by whom, what was done, with which letter.
    async fn audit(&self) -> Vec<(String, String, i64)> {
        let rows = sqlx::query_as(
            "select actor, action, dead_letter_id from bus.dead_letter_audit order by id",
        );
        rows.fetch_all(&self.database.pool).await.unwrap()
    }
}

/// Every test over each of the two.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod the_queue_table {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::of_the_queue_table().await).await;
            })*
        }
        mod eventbridge_and_sqs {
            $(#[tokio::test]
            async fn $name() {
                if let Some(world) = super::World::of_eventbridge_and_sqs().await {
                    super::$name(world).await;
                }
            })*
        }
    };
}

conformance! {
    every_published_event_is_handled_as_it_was_sent_and_then_gone
    a_message_whose_consumer_died_comes_again
    of_a_batch_only_what_failed_comes_again
    what_cannot_be_read_is_a_dead_letter_and_blocks_nobody
    an_event_of_an_unknown_type_is_ignored
    a_store_that_is_away_for_long_makes_no_dead_letter
    a_message_that_fails_each_time_is_a_dead_letter_with_its_reason
    a_letter_that_is_redriven_is_handled_as_if_for_the_first_time
    only_the_letters_that_are_meant_are_settled
    a_letter_can_be_looked_at_as_often_as_one_likes
    an_operator_sees_what_waits_what_is_in_flight_and_what_is_dead
}

async fn every_published_event_is_handled_as_it_was_sent_and_then_gone(world: World) {
    world.publish(1..=25).await;
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || content.seen().len() >= 25).await;
    // At least once: SQS may double.
    let seen: BTreeSet<i64> = content.seen().into_iter().collect();
    assert_eq!(seen, (1..=25).collect());
    assert!(world.is_empty().await);
    assert_eq!(world.letters().await, []);
}

async fn a_message_whose_consumer_died_comes_again(world: World) {
    world.publish([1]).await;
    let begun = Instant::now();
    let mut received = Vec::new();
    while received.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "it does not arrive");
        received = world.receive().await;
    }
    assert_eq!(received, [event(1)]);
    assert_eq!(world.receive().await, Vec::<Value>::new(), "it is out of sight");
    world.forget().await;
    assert_eq!(world.receive().await, [event(1)]);
}

async fn of_a_batch_only_what_failed_comes_again(world: World) {
    world.publish(1..=6).await;
    let fussy = Told::to(|position| match position % 3 {
        0 => Err(Failure::Failed("a multiple of three".to_owned())),
        _ => Ok(()),
    });
    // Failures come at once where nothing keeps them: handled until all were seen.
    world.rounds(&fussy, || (1..=6).all(|position| fussy.seen().contains(&position))).await;
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || content.seen().len() >= 2).await;
    let mut seen = content.seen();
    // Order is nobody's promise.
    seen.sort_unstable();
    assert_eq!(seen, [3, 6]);
    assert!(world.is_empty().await);
}

async fn what_cannot_be_read_is_a_dead_letter_and_blocks_nobody(world: World) {
    world.plant("no event").await;
    world.publish([2]).await;
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || !content.seen().is_empty()).await;
    world.round(&content).await;
    assert_eq!(content.seen(), [2]);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.starts_with("unreadable: "), "{}", letters[0].reason);
    let (_, body) = world.letters.find(letters[0].id).await.unwrap().unwrap();
    assert_eq!(body, "no event");
    assert!(world.is_empty().await);
}

async fn an_event_of_an_unknown_type_is_ignored(world: World) {
    world.plant(&event(1).to_string().replace("ProductUpdated", "FromTheFuture")).await;
    world.publish([2]).await;
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || !content.seen().is_empty()).await;
    assert!(world.is_empty().await);
    assert_eq!((content.seen(), world.letters().await), (vec![2], vec![]));
}

async fn an_operator_sees_what_waits_what_is_in_flight_and_what_is_dead(world: World) {
    world.bury(&["no event"]).await;
    // SQS counts a moment late.
    let until = async |what: &str, is_so: fn(&QueueDepth) -> bool, receives: bool| {
        let begun = Instant::now();
        loop {
            if receives {
                // Each time, since none is in flight for long.
                world.receive().await;
            }
            let depth = world.letters.depth().await.unwrap();
            if is_so(&depth) && depth.dead_letters == 1 {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "not {what}: {depth:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("one dead letter alone", |depth| depth.visible + depth.in_flight == 0, false).await;
    world.publish(1..=3).await;
    until("three that wait", |depth| (depth.visible, depth.in_flight) == (3, 0), false).await;
    let in_flight =
        |depth: &QueueDepth| depth.in_flight > 0 && depth.visible + depth.in_flight == 3;
    until("some in flight", in_flight, true).await;
}

async fn a_store_that_is_away_for_long_makes_no_dead_letter(world: World) {
    world.publish([1]).await;
    let away = Told::to(|_| Err(Failure::Unavailable("nobody answers".to_owned())));
    world.rounds(&away, || away.seen().len() >= 20).await;
    assert_eq!(world.letters().await, []);
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || !content.seen().is_empty()).await;
    assert!(world.is_empty().await);
}

async fn a_message_that_fails_each_time_is_a_dead_letter_with_its_reason(world: World) {
    world.publish([1]).await;
    let failing = Told::to(|_| Err(Failure::Failed("it cannot be \u{0}\u{ffff}".to_owned())));
    world.rounds(&failing, || failing.seen().len() >= 5).await;
    assert!(world.is_empty().await);
    assert_eq!(failing.seen().len(), 5);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert!(letter.reason.starts_with("it cannot be "), "{}", letter.reason);
    let about = (letter.attempts, letter.event_type.as_str());
    assert_eq!(about, (5, "ProductUpdated"));
    assert!(letter.dead_at >= letter.sent_at);
}

async fn a_letter_that_is_redriven_is_handled_as_if_for_the_first_time(world: World) {
    world.publish([1]).await;
    let failing = Told::to(|_| Err(Failure::Failed("not yet".to_owned())));
    world.rounds(&failing, || failing.seen().len() >= 5).await;
    let letter = world.letters().await.remove(0);
    let all = Selection::default();
    let now = world.clock.now();
    let settled = world.letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    assert_eq!((settled, world.letters().await), (1, vec![]));
    assert_eq!(world.audit().await, [(OPERATOR.to_string(), "redrive".to_owned(), letter.id)]);
    // It may fail as often as before.
    let failing = Told::to(|_| Err(Failure::Failed("not yet".to_owned())));
    world.rounds(&failing, || failing.seen().len() >= 5).await;
    let again = world.letters().await.remove(0);
    assert_eq!((again.attempts, again.event_id), (5, letter.event_id));
    world.letters.settle(&all, None, Action::Redrive, OPERATOR, now).await.unwrap();
    let content = Told::to(|_| Ok(()));
    world.rounds(&content, || !content.seen().is_empty()).await;
    assert!(world.is_empty().await);
}

async fn only_the_letters_that_are_meant_are_settled(world: World) {
    let typed = |name: &str| format!(r#"{{"specversion": "1.0", "type": "{name}"}}"#);
    let bodies = [typed("StockChanged"), typed("ProductUpdated"), "no JSON".to_owned()];
    world.bury(&[&bodies[0], &bodies[1], &bodies[2], &bodies[0]]).await;
    let letters = world.letters().await;
    assert!(letters.is_sorted_by_key(|letter| letter.id));
    let stock = Selection { reason: Some("missing field".to_owned()), ..Selection::default() };
    assert_eq!(world.letters.count(&stock).await.unwrap(), 3);
    let one = Selection { ids: Some(vec![letters[2].id]), ..Selection::default() };
    let now = world.clock.now();
    let discard = Action::Discard;
    assert_eq!(world.letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 1);
    assert_eq!(world.letters.settle(&one, None, discard, OPERATOR, now).await.unwrap(), 0);
    assert_eq!(world.letters.settle(&stock, Some(2), discard, OPERATOR, now).await.unwrap(), 2);
    let left: Vec<i64> = world.letters().await.iter().map(|letter| letter.id).collect();
    assert_eq!(left, [letters[3].id], "the oldest go first");
    let before = Selection { before: Some(letters[3].dead_at), ..Selection::default() };
    assert_eq!(world.letters.count(&before).await.unwrap(), 0);
    assert_eq!(world.audit().await.len(), 3);
    assert!(world.is_empty().await, "what was discarded does not come again");
}

async fn a_letter_can_be_looked_at_as_often_as_one_likes(world: World) {
    world.bury(&["one", "two"]).await;
    let first = world.letters().await;
    for _ in 0..8 {
        assert_eq!(world.letters().await, first);
    }
    let page = world.letters.list(&Selection::default(), first[0].id, 10).await.unwrap();
    assert_eq!(page, first[1..]);
    assert_eq!(world.letters.find(i64::MAX).await.unwrap(), None);
}
