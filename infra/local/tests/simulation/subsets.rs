//! Every subset of a batch of ten failing: only those come back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use shared::bus::faulty::Rates;
use testkit::DynamoFault;
use uuid::Uuid;

use crate::operation::Operation;
use crate::world::{Log, World};

const BATCH: u32 = 10;

/// Messages of ten products that the catalogue has, to be sent again under newer versions.
struct Batch {
    messages: Vec<(Uuid, Value)>,
    version: i64,
}

impl Batch {
    async fn new(world: &mut World) -> Self {
        for _ in 0..BATCH {
            world.create().await;
        }
        world.finish(Operation::Relay).await;
        let messages: Vec<(Uuid, String)> =
            sqlx::query_as("select subject, body from bus.messages order by id")
                .fetch_all(&world.database.pool)
                .await
                .unwrap();
        let read = |(id, body): (Uuid, String)| (id, serde_json::from_str(&body).unwrap());
        world.settle().await;
        Self { messages: messages.into_iter().map(read).collect(), version: 1 }
    }

    /// Sends one event of each product that the catalogue has not seen.
    async fn send(&mut self, world: &World) {
        self.version += 1;
        let (mut subjects, mut bodies) = (Vec::new(), Vec::new());
        for (nth, (id, body)) in self.messages.iter_mut().enumerate() {
            body["data"]["product"]["version"] = json!(self.version);
            body["position"] = json!(self.version * 100 + i64::try_from(nth).unwrap());
            subjects.push(*id);
            bodies.push(body.to_string());
        }
        sqlx::query(
            "insert into bus.messages
                 (queue, event_id, event_type, subject, body, sent_at, visible_at)
             select 'catalog', gen_random_uuid(), 'ProductCreated', subject, body, $3, $3
             from unnest($1::uuid[], $2::text[]) as sent (subject, body)",
        )
        .bind(subjects)
        .bind(bodies)
        .bind(world.around.clock.now())
        .execute(&world.database.pool)
        .await
        .unwrap();
    }

    /// The products of the batch whose bits are set.
    fn subset(&self, bits: u32) -> BTreeSet<Uuid> {
        let all = self.messages.iter().enumerate();
        all.filter(|(nth, _)| bits >> nth & 1 == 1).map(|(_, (id, _))| *id).collect()
    }
}

async fn waiting(world: &World) -> BTreeSet<Uuid> {
    let waiting: Vec<Uuid> = sqlx::query_scalar("select subject from bus.messages")
        .fetch_all(&world.database.pool)
        .await
        .unwrap();
    waiting.into_iter().collect()
}

/// The versions that the catalogue has of the batch's products.
async fn listed(world: &World, batch: &Batch) -> Vec<i64> {
    let app = catalog::App::new(
        world.around.dynamodb.clone(),
        crate::process::TABLE,
        "BRL".parse().unwrap(),
    );
    let mut versions = Vec::new();
    for (id, _) in &batch.messages {
        versions.push(app.find_listing(*id).await.unwrap().unwrap().product_version);
    }
    versions
}

#[tokio::test]
async fn of_a_batch_only_what_failed_comes_back_whatever_subset_that_is() {
    let mut world = World::new(3, Rates::each(0), Log::default()).await;
    let mut batch = Batch::new(&mut world).await;
    for bits in 0..1 << BATCH {
        batch.send(&world).await;
        let failing = batch.subset(bits);
        // A store that is away and one that refuses take different ways.
        let fault =
            if bits.count_ones() % 2 == 0 { DynamoFault::INTERNAL } else { DynamoFault::DENIED };
        let names: Vec<String> = failing.iter().map(Uuid::to_string).collect();
        world.processes[1].dynamodb.plan(move |call| {
            let hit = call.starts_with("PutItem") && names.iter().any(|id| call.contains(id));
            hit.then_some(fault)
        });
        world.finish(Operation::Intake).await;
        assert_eq!(waiting(&world).await, failing, "subset {bits:#012b}");
        let expected = batch
            .messages
            .iter()
            .map(|(id, _)| if failing.contains(id) { batch.version - 1 } else { batch.version });
        // A stride that has each product among those that fail and among those that do not.
        if bits % 11 == 0 {
            assert_eq!(listed(&world, &batch).await, expected.collect::<Vec<_>>());
        }
        world.processes[1].dynamodb.clear();
        world.around.clock.advance(Duration::from_mins(1));
        world.finish(Operation::Intake).await;
        assert!(waiting(&world).await.is_empty(), "subset {bits:#012b} is stuck");
    }
    assert_eq!(listed(&world, &batch).await, vec![batch.version; BATCH as usize]);
    println!("{} subsets of a batch of {BATCH}", 1 << BATCH);
    world.end().await;
}
