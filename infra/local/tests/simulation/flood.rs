//! Thousands of events, of which 20 % are duplicated, 20 % reordered, 10 % delayed and 1 % become dead
//! letters. In the end every listing must equal its product, field by field.

use std::time::Duration;

use axum::http::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use shared::bus::message::Outcome;
use shared::bus::postgres::Queue;
use shared::id::ProductId;
use testkit::RandomRuns;
use testkit::Rates;

use crate::operation::{Done, Operation};
use crate::process::QUEUE;
use crate::simulation::{Log, Simulation};

const RATES: Rates =
    Rates { refused: 1, duplicated: 20, delayed: 10, unacknowledged: 0, reordered: 20 };

/// Changes of each product, including its creation.
const CHANGES: u64 = 20;

/// Makes one in a hundred queued messages a dead letter. Returns their number.
async fn make_dead_letters(queue: &Queue, rng: &mut StdRng) -> u64 {
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

/// Number of changes so far. Each is one event.
async fn count(sim: &Simulation) -> u64 {
    let count: i64 = sqlx::query_scalar("select count(*) from inventory.journal")
        .fetch_one(&sim.database.pool)
        .await
        .unwrap();
    count.unsigned_abs()
}

#[tokio::test]
async fn listings_are_right_after_thousands_of_faulty_deliveries() {
    let runs = RandomRuns::from_env(5_000, 11);
    // With fewer, a kind of fault may not occur.
    let least = runs.count.max(2_000);
    let mut rng = StdRng::seed_from_u64(runs.seed);
    let mut sim = Simulation::new(runs.seed, RATES, Log::default()).await;
    let queue = Queue::new(sim.database.pool.clone(), sim.env.clock.clone(), QUEUE);
    let mut products: Vec<ProductId> = Vec::new();
    let (mut changes, mut dead) = (0, 0);
    while changes < least {
        for nth in 0..100 {
            sim.env.clock.advance(Duration::from_millis(rng.random_range(1..20)));
            if nth % CHANGES == 0 {
                products.push(sim.create().await);
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
                let operation = sim.send(method, path, body);
                let Done::Response(response) = sim.finish(operation).await else { unreachable!() };
                // A deleted product returns 404.
                assert!([200, 204, 404].contains(&response.status.as_u16()), "{}", response.text);
            }
        }
        sim.finish(Operation::Relay).await;
        if rng.random_bool(0.5) {
            dead += make_dead_letters(&queue, &mut rng).await;
        }
        if rng.random_bool(0.7) {
            sim.finish(Operation::Intake).await;
        }
        if rng.random_bool(0.05) {
            sim.finish(Operation::Redrive).await;
        }
        changes = count(&sim).await;
    }
    sim.settle_without_faults().await;
    sim.check().await;
    println!(
        "seed {}: {} products, {changes} changes, {} faults of the bus, {dead} dead letters",
        runs.seed,
        products.len(),
        sim.env.bus.faults(),
    );
    assert!(dead > 0 && u64::from(sim.env.bus.faults()) > changes / 4);
    sim.end().await;
}
