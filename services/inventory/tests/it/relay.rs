use std::time::{Duration, Instant};

use inventory::relay::{Relay, RelayError};
use shared::bus::Publish;
use shared::bus::postgres::{PgBus, Queue};
use shared::contract::envelope::{self, Received};
use shared::contract::inventory::Event;
use shared::contract::routes::ROUTES;
use shared::host::Work as _;
use shared::host::tick::Progress;
use shared::id::Ids;
use shared::outbox;
use testkit::{FaultyBus, Rates};
use uuid::Uuid;

use crate::World;

fn bus(world: &World) -> PgBus {
    PgBus::new(world.pool.clone(), world.clock.clone(), ROUTES)
}

fn relay<B: Publish>(world: &World, bus: B) -> Relay<B> {
    Relay::new(world.pool.clone(), bus, world.clock.clone(), Ids::seeded(2))
}

#[tokio::test]
async fn what_is_committed_is_published_once_and_leaves_the_outbox() {
    let world = World::new().await;
    let created = world.create("SHOE-1").await;
    let relay = relay(&world, bus(&world));
    relay.once().await.unwrap();
    assert_eq!(world.count("outbox").await, 0);
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    let queue = Queue::new(world.pool.clone(), world.clock.clone(), "catalog");
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
async fn an_event_that_the_bus_refuses_stays_pending_and_is_published_later() {
    let world = World::new().await;
    for n in 0..40 {
        world.create(&format!("SHOE-{n}")).await;
    }
    let faulty = FaultyBus::new(bus(&world), 3, Rates::each(12));
    let relay = relay(&world, faulty.clone());
    for _ in 0..10 {
        // A round may fail as a whole; what was pending is pending then.
        let _ = relay.once().await;
        world.clock.advance(Duration::from_secs(1));
    }
    faulty.calm().await.unwrap();
    assert!(faulty.faults() > 10);
    while world.count("outbox").await > 0 {
        world.clock.advance(Duration::from_secs(1));
        relay.once().await.unwrap();
    }
    let subjects: i64 = sqlx::query_scalar("select count(distinct subject) from bus.messages")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(subjects, 40);
}

#[tokio::test]
async fn of_the_events_of_a_round_only_those_that_the_bus_refuses_stay_pending() {
    let world = World::new().await;
    for n in 0..40 {
        world.create(&format!("SHOE-{n}")).await;
    }
    let faulty = FaultyBus::new(bus(&world), 3, Rates { refused: 30, ..Rates::each(0) });
    let relay = relay(&world, faulty.clone());
    relay.once().await.unwrap();
    let refused = i64::from(faulty.faults());
    assert!(refused > 0);
    assert_eq!(world.count("outbox").await, refused);
    let sent = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from bus.messages");
        count.fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!(sent().await, 40 - refused);
    faulty.calm().await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    relay.once().await.unwrap();
    assert_eq!((world.count("outbox").await, sent().await), (0, 40));
}

/// Asks for an announcement of a product above `seen`.
async fn ask_for_repair(world: &World, id: Uuid, seen: i64) {
    sqlx::query(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         values ($1, 'product', $2, $3)",
    )
    .bind(id)
    .bind(seen)
    .bind(world.clock.now())
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn repairs_that_cannot_be_done_keep_neither_others_nor_events_waiting() {
    let world = World::new().await;
    let mut ids: Vec<Uuid> = Vec::new();
    for sku in ["BAD-1", "BAD-2", "BAD-3", "BAD-4", "BAD-5", "GOOD-1"] {
        let created = world.create(sku).await;
        ids.push(created.json["id"].as_str().unwrap().parse().unwrap());
    }
    // Whatever the reason; here they may have no second version.
    let plant = "alter table inventory.products
                 add constraint planted check (sku like 'GOOD-%' or version = 1) not valid";
    sqlx::query(plant).execute(&world.pool).await.unwrap();
    for id in &ids {
        ask_for_repair(&world, *id, 7).await;
        world.clock.advance(Duration::from_secs(1));
    }
    let relay = relay(&world, bus(&world));
    // That something is left is said after everything else is done.
    let error = relay.until(Instant::now()).await.unwrap_err();
    assert!(
        matches!(error, RelayError::Publish(outbox::RelayError::Pending { requested: 6, .. })),
        "{error:?}"
    );
    let error = relay.until(Instant::now() + Duration::from_secs(1)).await.unwrap_err();
    assert!(
        matches!(
            error,
            RelayError::Publish(outbox::RelayError::Pending { pending: 0, requested: 5 })
        ),
        "{error:?}"
    );
    let version: i64 = sqlx::query_scalar("select version from inventory.products where id = $1")
        .bind(ids[5])
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(version, 8);
    // They are tried again, behind those that came meanwhile, and done once they can be.
    let mend = "alter table inventory.products drop constraint planted";
    sqlx::query(mend).execute(&world.pool).await.unwrap();
    assert_eq!(relay.repair().await.unwrap(), Progress::Idle);
    world.clock.advance(Duration::from_secs(30));
    for _ in 0..5 {
        assert_eq!(relay.repair().await.unwrap(), Progress::More);
    }
    assert_eq!(world.count("repair_requests").await, 0);
}

#[tokio::test]
async fn relays_that_run_at_once_publish_every_event_exactly_once() {
    let world = World::new().await;
    for n in 0..150 {
        world.create(&format!("SHOE-{n}")).await;
    }
    let relay = relay(&world, bus(&world));
    let drain = || async { while relay.once().await.unwrap() == Progress::More {} };
    tokio::join!(drain(), drain(), drain());
    assert_eq!(world.count("outbox").await, 0);
    let sent: i64 = sqlx::query_scalar("select count(*) from bus.messages")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(sent, 150);
}

#[tokio::test]
async fn a_message_that_kills_its_consumer_each_time_becomes_a_dead_letter() {
    let world = World::new().await;
    world.create("SHOE-1").await;
    relay(&world, bus(&world)).once().await.unwrap();
    let queue = Queue::new(world.pool.clone(), world.clock.clone(), "catalog");
    for attempt in 1..=5 {
        let received = queue.receive(10).await.unwrap();
        assert_eq!(received[0].attempts, attempt);
        // It dies: nothing is settled, and the message comes again.
        world.clock.advance(Duration::from_secs(31));
    }
    assert!(queue.receive(10).await.unwrap().is_empty());
    assert_eq!(queue.bury_exhausted().await.unwrap(), 1);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.in_flight, depth.dead_letters), (0, 0, 1));
}

#[tokio::test]
async fn what_waits_for_too_long_is_a_dead_letter_and_then_given_up_before_a_tombstone_is() {
    let world = World::new().await;
    world.create("SHOE-1").await;
    relay(&world, bus(&world)).once().await.unwrap();
    let queue = Queue::new(world.pool.clone(), world.clock.clone(), "catalog");
    let mut seen = Vec::new();
    for _ in 0..3 {
        world.clock.advance(Duration::from_hours(24 * 10));
        seen.push(queue.expire().await.unwrap());
    }
    assert_eq!(seen, [(0, 0), (1, 0), (0, 1)]);
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.visible, depth.dead_letters), (0, 0));
    let audit: (String, String) = sqlx::query_as("select actor, action from bus.dead_letter_audit")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(audit, ("retention".to_owned(), "expire".to_owned()));
    assert!(shared::bus::message::DEAD_LETTER_KEPT < shared::contract::listing::TOMBSTONE_KEPT);
}

#[tokio::test]
async fn entries_that_this_build_cannot_read_hold_nobody_up_however_many_there_are() {
    let world = World::new().await;
    for n in 0..120 {
        world.create(&format!("SHOE-{n}")).await;
    }
    let newer = "update inventory.journal set event = '{\"type\":\"FromTheFuture\",\"data\":{}}'
                 where aggregate_id in (select aggregate_id from inventory.outbox
                                        order by position limit 60)";
    sqlx::query(newer).execute(&world.pool).await.unwrap();
    let lost = "delete from inventory.journal
                where aggregate_id in (select aggregate_id from inventory.outbox
                                       order by position limit 58 offset 60)";
    sqlx::query(lost).execute(&world.pool).await.unwrap();
    let relay = relay(&world, bus(&world));
    assert_eq!(relay.once().await.unwrap(), Progress::More);
    assert_eq!(relay.once().await.unwrap(), Progress::Idle);
    assert_eq!(world.count("outbox").await, 118);
    let sent: i64 = sqlx::query_scalar("select count(*) from bus.messages")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(sent, 2);
}
