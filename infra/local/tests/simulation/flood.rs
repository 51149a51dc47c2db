//! Many events, of which one in five is doubled, one in five reordered, one in ten delayed and one
//! in a hundred a dead letter: the catalogue ends up with what is true, field by field.

use std::time::Duration;

use axum::http::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use shared::bus::faulty::Rates;
use shared::bus::queue::{Outcome, Queue};
use testkit::Scale;
use uuid::Uuid;

use crate::operation::{Done, Operation};
use crate::process::QUEUE;
use crate::world::{Log, World};

const RATES: Rates = Rates { refused: 1, doubled: 20, delayed: 10, unanswered: 0, reordered: 20 };

/// Changes of one product, its creation included.
const CHANGES: u64 = 20;

/// Has one in a hundred of the waiting messages fail for good.
async fn bury(queue: &Queue, rng: &mut StdRng) -> u64 {
    let received = queue.receive(100).await.unwrap();
    let mut dead = 0;
    let settled = received.into_iter().map(|message| {
        let reason = "planted".to_owned();
        if rng.random_ratio(1, 100) {
            dead += 1;
            (message, Outcome::Dead { reason })
        } else {
            (message, Outcome::Later { reason })
        }
    });
    queue.settle(settled.collect()).await.unwrap();
    dead
}

/// How many changes there were, each of which is an event.
async fn count(world: &World) -> u64 {
    let count: i64 = sqlx::query_scalar("select count(*) from inventory.journal")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    count.unsigned_abs()
}

#[tokio::test]
async fn a_flood_of_doubled_reordered_delayed_and_dead_events_leaves_the_catalogue_right() {
    let scale = Scale::asked(5_000, 11);
    // With fewer there may be nothing of a kind.
    let least = scale.count.max(2_000);
    let mut rng = StdRng::seed_from_u64(scale.seed);
    let mut world = World::new(scale.seed, RATES, Log::default()).await;
    let queue = Queue::new(world.database.pool.clone(), world.around.clock.clone(), QUEUE);
    let mut products: Vec<Uuid> = Vec::new();
    let (mut changes, mut dead) = (0, 0);
    while changes < least {
        for nth in 0..100 {
            world.around.clock.advance(Duration::from_millis(rng.random_range(1..20)));
            if nth % CHANGES == 0 {
                products.push(world.create().await);
            } else {
                let id = products.choose(&mut rng).unwrap();
                let (path, method, body) = match rng.random_range(0..100) {
                    0..30 => {
                        let body = json!({"on_hand": rng.random_range(0..1_000_000)});
                        (format!("/v1/products/{id}/stock"), Method::PUT, Some(body))
                    }
                    30..33 => (format!("/v1/products/{id}"), Method::DELETE, None),
                    33..40 => (format!("/v1/products/{id}/restore"), Method::POST, None),
                    _ => {
                        let body = json!({"price": {"amount": rng.random_range(0..1_000_000)}});
                        (format!("/v1/products/{id}"), Method::PATCH, Some(body))
                    }
                };
                let operation = world.send(method, path, body);
                let Done::Answered(answer) = world.finish(operation).await else { unreachable!() };
                // What is deleted cannot be changed.
                assert!([200, 204, 404].contains(&answer.status.as_u16()), "{}", answer.text);
            }
        }
        world.finish(Operation::Relay).await;
        if rng.random_bool(0.5) {
            dead += bury(&queue, &mut rng).await;
        }
        if rng.random_bool(0.7) {
            world.finish(Operation::Intake).await;
        }
        if rng.random_bool(0.05) {
            world.finish(Operation::Redrive).await;
        }
        changes = count(&world).await;
    }
    world.quiet().await;
    world.check().await;
    println!(
        "seed {}: {} products, {changes} changes, {} faults of the bus, {dead} dead letters",
        scale.seed,
        products.len(),
        world.around.bus.faults(),
    );
    assert!(dead > 0 && u64::from(world.around.bus.faults()) > changes / 4);
    world.end().await;
}
