use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use inventory::relay::{Relay, RelayError};
use shared::bus::Publish;
use shared::bus::postgres::{PgBus, Queue};
use shared::contract::envelope::{self, Received};
use shared::contract::inventory::Event;
use shared::contract::routes::ROUTES;
use shared::host::Work as _;
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::{Ids, ProductId};
use shared::outbox;
use shared::outbox::RelayTimeouts;
use testkit::{Call, FaultyBus, NO_TIMEOUT, PATIENT_RELAY, Rates, eventually, set_back};

use crate::{TestService, shoe};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn bus(service: &TestService) -> PgBus {
    PgBus::new(service.pool.clone(), service.clock.clone(), ROUTES)
}

/// The subjects of the messages, in the order in which they were sent.
pub(crate) async fn subjects(service: &TestService) -> Vec<ProductId> {
    let messages = sqlx::query_scalar("select subject from bus.messages order by id");
    messages.fetch_all(&service.pool).await.unwrap()
}

pub(crate) fn relay<B: Publish>(service: &TestService, bus: B) -> Relay<B> {
    let relay = Relay::new(service.pool.clone(), bus, service.clock.clone(), Ids::seeded(2));
    relay.with_timeouts(PATIENT_RELAY)
}

#[tokio::test]
async fn committed_event_is_published_once_and_leaves_the_outbox() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let relay = relay(&service, bus(&service));
    relay.once().await.unwrap();
    assert_eq!(service.count("outbox").await, 0);
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    let queue = Queue::new(service.pool.clone(), service.clock.clone(), "catalog");
    let messages = queue.receive(10).await.unwrap();
    assert_eq!(messages.len(), 1);
    let Received::Known(envelope) = envelope::read(&messages[0].body).unwrap() else {
        panic!("an unknown event")
    };
    assert_eq!(envelope.requestid.to_string(), created.header("x-request-id"));
    let Event::ProductCreated { product, stock } = envelope.event else {
        panic!("another event: {:?}", envelope.event)
    };
    assert_eq!(serde_json::to_value(&product).unwrap(), created.json);
    assert_eq!(product.content_hash, product.compute_hash());
    assert_eq!(stock.on_hand, 5);
}

#[tokio::test]
async fn refused_event_stays_pending_and_is_published_later() {
    let service = TestService::new().await;
    for n in 0..40 {
        service.create(&format!("SHOE-{n}")).await;
    }
    let faulty = FaultyBus::new(bus(&service), 3, Rates::each(12));
    let relay = relay(&service, faulty.clone());
    for _ in 0..10 {
        // A round may fail as a whole; its events stay pending.
        let _ = relay.once().await;
        service.clock.advance(Duration::from_secs(1));
    }
    faulty.stop_faults().await.unwrap();
    assert!(faulty.faults() > 10);
    while service.count("outbox").await > 0 {
        service.clock.advance(Duration::from_secs(1));
        relay.once().await.unwrap();
    }
    let subjects: i64 = sqlx::query_scalar("select count(distinct subject) from bus.messages")
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!(subjects, 40);
}

#[tokio::test]
async fn drain_waits_for_refused_events_until_they_are_published() {
    let service = TestService::new().await;
    for n in 0..5 {
        service.create(&format!("SHOE-{n}")).await;
    }
    let faulty = FaultyBus::new(bus(&service), 3, Rates { refused: 50, ..Rates::each(0) });
    let relay = relay(&service, faulty.clone());
    // A refused event is due a second later.
    let time_passes = eventually("the last event", async || {
        service.clock.advance(SECOND);
        (service.count("outbox").await == 0).then_some(())
    });
    let (drained, ()) = tokio::join!(relay.until(Instant::now() + NO_TIMEOUT), time_passes);
    drained.unwrap();
    assert!(faulty.faults() > 0, "nothing was refused");
    let counts = "select count(*), count(distinct subject) from bus.messages";
    let counts: (i64, i64) = sqlx::query_as(counts).fetch_one(&service.pool).await.unwrap();
    assert_eq!(counts, (5, 5));
}

#[tokio::test]
async fn only_the_refused_events_of_a_round_stay_pending() {
    let service = TestService::new().await;
    for n in 0..40 {
        service.create(&format!("SHOE-{n}")).await;
    }
    let faulty = FaultyBus::new(bus(&service), 3, Rates { refused: 30, ..Rates::each(0) });
    let relay = relay(&service, faulty.clone());
    relay.once().await.unwrap();
    let refused = i64::from(faulty.faults());
    assert!(refused > 0);
    assert_eq!(service.count("outbox").await, refused);
    let sent = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from bus.messages");
        count.fetch_one(&service.pool).await.unwrap()
    };
    assert_eq!(sent().await, 40 - refused);
    // Those that are pending are the ones that the bus does not have.
    let both: i64 = sqlx::query_scalar(
        "select count(*) from inventory.outbox join bus.messages on subject = aggregate_id",
    )
    .fetch_one(&service.pool)
    .await
    .unwrap();
    assert_eq!(both, 0);
    faulty.stop_faults().await.unwrap();
    service.clock.advance(Duration::from_secs(1));
    relay.once().await.unwrap();
    assert_eq!((service.count("outbox").await, sent().await), (0, 40));
    assert_eq!(subjects(&service).await.into_iter().collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn failing_repairs_do_not_block_other_repairs_or_events() {
    let service = TestService::new().await;
    let mut ids: Vec<ProductId> = Vec::new();
    for sku in ["BAD-1", "BAD-2", "BAD-3", "BAD-4", "BAD-5", "GOOD-1"] {
        let created = service.create(sku).await;
        ids.push(created.json["id"].as_str().unwrap().parse().unwrap());
    }
    // Any permanent failure will do: here a constraint rejects a second version.
    let plant = "alter table inventory.products
                 add constraint planted check (sku like 'GOOD-%' or version = 1) not valid";
    sqlx::query(plant).execute(&service.pool).await.unwrap();
    for id in &ids {
        service.request_repair(*id, 7).await;
        service.clock.advance(Duration::from_secs(1));
    }
    // It does not wait for what is left after it has done everything else: it reports it.
    let timeouts = RelayTimeouts { drain: Duration::ZERO, ..PATIENT_RELAY };
    let relay = relay(&service, bus(&service)).with_timeouts(timeouts);
    let error = relay.until(Instant::now()).await.unwrap_err();
    assert!(
        matches!(error, RelayError::Publish(outbox::RelayError::Pending { requested: 6, .. })),
        "{error:?}"
    );
    let error = relay.until(Instant::now() + NO_TIMEOUT).await.unwrap_err();
    assert!(
        matches!(
            error,
            RelayError::Publish(outbox::RelayError::Pending { pending: 0, requested: 5 })
        ),
        "{error:?}"
    );
    let version: i64 = sqlx::query_scalar("select version from inventory.products where id = $1")
        .bind(ids[5])
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!(version, 8);
    // They are retried behind newer requests, and succeed once the constraint is gone.
    let mend = "alter table inventory.products drop constraint planted";
    sqlx::query(mend).execute(&service.pool).await.unwrap();
    assert_eq!(relay.repair().await.unwrap(), Progress::Idle);
    service.clock.advance(Duration::from_secs(29));
    assert_eq!(relay.repair().await.unwrap(), Progress::Idle);
    service.clock.advance(Duration::from_secs(1));
    for _ in 0..5 {
        assert_eq!(relay.repair().await.unwrap(), Progress::More);
    }
    assert_eq!(service.count("repair_requests").await, 0);
}

#[tokio::test]
async fn what_is_postponed_is_due_after_the_clock_was_set_back() {
    let service = TestService::new().await;
    let created = service.create("SHOE-1").await;
    let id: ProductId = created.json["id"].as_str().unwrap().parse().unwrap();
    let unreadable =
        "update inventory.journal set event = '{\"type\":\"FromTheFuture\",\"data\":{}}'";
    let original = "create table original as select aggregate, event from inventory.journal";
    for statement in [original, unreadable] {
        sqlx::query(statement).execute(&service.pool).await.unwrap();
    }
    let plant =
        "alter table inventory.products add constraint planted check (version < 2) not valid";
    sqlx::query(plant).execute(&service.pool).await.unwrap();
    service.request_repair(id, 1).await;
    let relay = relay(&service, bus(&service));
    relay.once().await.unwrap();
    while relay.repair().await.unwrap() == Progress::More {}
    let mend = "alter table inventory.products drop constraint planted";
    let readable = "update inventory.journal j set event = o.event from original o
                    where o.aggregate = j.aggregate";
    for statement in [mend, readable] {
        sqlx::query(statement).execute(&service.pool).await.unwrap();
    }
    let rounds = [relay.repair().await.unwrap(), relay.once().await.unwrap()];
    assert_eq!(rounds, [Progress::Idle; 2], "both wait");
    set_back(&service.clock, Duration::from_hours(1));
    assert_eq!(relay.repair().await.unwrap(), Progress::More);
    assert_eq!(service.count("repair_requests").await, 0);
    relay.once().await.unwrap();
    assert_eq!(service.count("outbox").await, 0);
}

#[tokio::test]
async fn concurrent_relays_publish_every_event_exactly_once() {
    let service = TestService::new().await;
    for n in 0..150 {
        service.create(&format!("SHOE-{n}")).await;
    }
    let relay = relay(&service, bus(&service));
    let drain = || async { while relay.once().await.unwrap() == Progress::More {} };
    tokio::join!(drain(), drain(), drain());
    assert_eq!(service.count("outbox").await, 0);
    let counts = "select count(*), count(distinct subject) from bus.messages";
    let counts: (i64, i64) = sqlx::query_as(counts).fetch_one(&service.pool).await.unwrap();
    assert_eq!(counts, (150, 150), "messages, and products that have one");
}

#[tokio::test]
async fn message_that_crashes_its_consumer_becomes_a_dead_letter() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    relay(&service, bus(&service)).once().await.unwrap();
    let queue = Queue::new(service.pool.clone(), service.clock.clone(), "catalog");
    for attempt in 1..=5 {
        let received = queue.receive(10).await.unwrap();
        assert_eq!(received[0].attempts, attempt);
        // The consumer crashes: nothing is settled, and the message becomes visible again.
        service.clock.advance(Duration::from_secs(31));
    }
    assert!(queue.receive(10).await.unwrap().is_empty());
    assert_eq!(queue.make_exhausted_dead_letters().await.unwrap(), 1);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.in_flight, depth.dead_letters), (0, 0, 1));
}

#[tokio::test]
async fn old_message_is_dead_lettered_and_expires_before_tombstones() {
    let service = TestService::new().await;
    service.create("SHOE-1").await;
    relay(&service, bus(&service)).once().await.unwrap();
    let queue = Queue::new(service.pool.clone(), service.clock.clone(), "catalog");
    let fortnight = 14 * 24 * 60 * 60;
    let mut seen = Vec::new();
    // Just before and just after the fourteenth day and the twenty-eighth.
    for seconds in [fortnight, 1, fortnight - 1, 1] {
        service.clock.advance(Duration::from_secs(seconds));
        seen.push(queue.expire().await.unwrap());
    }
    assert_eq!(seen, [(0, 0), (1, 0), (0, 0), (0, 1)]);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.dead_letters), (0, 0));
    let audit: (String, String) = sqlx::query_as("select actor, action from bus.dead_letter_audit")
        .fetch_one(&service.pool)
        .await
        .unwrap();
    assert_eq!(audit, ("retention".to_owned(), "expire".to_owned()));
    assert!(shared::bus::message::DEAD_LETTER_KEPT < shared::contract::listing::TOMBSTONE_KEPT);
}

#[tokio::test]
async fn unreadable_entries_do_not_block_the_events_behind_them() {
    let service = TestService::new().await;
    for n in 0..120 {
        service.create(&format!("SHOE-{n}")).await;
    }
    let original = "create table original as select aggregate_id, event from inventory.journal";
    sqlx::query(original).execute(&service.pool).await.unwrap();
    let newer = "update inventory.journal set event = '{\"type\":\"FromTheFuture\",\"data\":{}}'
                 where aggregate_id in (select aggregate_id from inventory.outbox
                                        order by position limit 60)";
    sqlx::query(newer).execute(&service.pool).await.unwrap();
    let lost = "delete from inventory.journal
                where aggregate_id in (select aggregate_id from inventory.outbox
                                       order by position limit 58 offset 60)";
    sqlx::query(lost).execute(&service.pool).await.unwrap();
    let relay = relay(&service, bus(&service));
    assert_eq!(relay.once().await.unwrap(), Progress::More);
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    assert_eq!(service.count("outbox").await, 118);
    let sent = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from bus.messages");
        count.fetch_one(&service.pool).await.unwrap()
    };
    assert_eq!(sent().await, 2);
    // A release that knows the event reads it again a minute later.
    let upgrade = "update inventory.journal j set event = o.event from original o
                   where o.aggregate_id = j.aggregate_id";
    sqlx::query(upgrade).execute(&service.pool).await.unwrap();
    service.clock.advance(Duration::from_secs(59));
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    assert_eq!(sent().await, 2);
    service.clock.advance(SECOND);
    while relay.once().await.unwrap() == Progress::More {}
    assert_eq!((sent().await, service.count("outbox").await), (62, 58));
}

#[tokio::test]
async fn idempotency_key_is_kept_for_a_day() {
    let service = TestService::new().await;
    let send = async || {
        let token = service.tokens.token(service.user_id, Role::Seller);
        let call = Call::post("/v1/products").json(&shoe("SHOE-1")).bearer(&token);
        call.header("idempotency-key", "first-shoe").send(&service.router).await
    };
    let created = send().await.expect(201);
    let relay = relay(&service, bus(&service));
    service.clock.advance(Duration::from_hours(24));
    relay.until(Instant::now()).await.unwrap();
    let replayed = send().await.expect(201);
    assert_eq!(replayed.json, created.json);
    service.clock.advance(SECOND);
    relay.until(Instant::now()).await.unwrap();
    // The key is forgotten, so this is another product with the same SKU.
    let refused = send().await.expect(409);
    assert_eq!(refused.code(), "sku_taken");
}
