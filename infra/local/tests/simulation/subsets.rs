//! Partial failure of a batch: for each subset of ten messages, exactly the failed ones are redelivered.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use shared::id::ProductId;
use testkit::DynamoFault;
use testkit::Rates;

use crate::operation::Operation;
use crate::simulation::{Log, Simulation};

const BATCH: u32 = 10;

/// Messages of ten listed products, to be sent again with newer versions.
struct Batch {
    messages: Vec<(ProductId, Value)>,
    version: i64,
}

impl Batch {
    async fn new(sim: &mut Simulation) -> Self {
        for _ in 0..BATCH {
            sim.create().await;
        }
        sim.finish(Operation::Relay).await;
        let messages: Vec<(ProductId, String)> =
            sqlx::query_as("select subject, body from bus.messages order by id")
                .fetch_all(&sim.database.pool)
                .await
                .unwrap();
        let read = |(id, body): (ProductId, String)| (id, serde_json::from_str(&body).unwrap());
        sim.settle().await;
        Self { messages: messages.into_iter().map(read).collect(), version: 1 }
    }

    /// Sends one new event of each product.
    async fn send(&mut self, sim: &Simulation) {
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
        .bind(sim.env.clock.now())
        .execute(&sim.database.pool)
        .await
        .unwrap();
    }

    /// The products of the batch that have their bit set.
    fn subset(&self, bits: u32) -> BTreeSet<ProductId> {
        let all = self.messages.iter().enumerate();
        all.filter(|(nth, _)| bits >> nth & 1 == 1).map(|(_, (id, _))| *id).collect()
    }
}

async fn queued(sim: &Simulation) -> BTreeSet<ProductId> {
    let queued: Vec<ProductId> = sqlx::query_scalar("select subject from bus.messages")
        .fetch_all(&sim.database.pool)
        .await
        .unwrap();
    queued.into_iter().collect()
}

/// The listed versions of the batch's products.
async fn listed(sim: &Simulation, batch: &Batch) -> Vec<i64> {
    let app =
        catalog::App::new(sim.env.dynamodb.clone(), crate::process::TABLE, "BRL".parse().unwrap());
    let mut versions = Vec::new();
    for (id, _) in &batch.messages {
        versions.push(app.find_listing(*id).await.unwrap().unwrap().product_version);
    }
    versions
}

#[tokio::test]
async fn only_the_failed_messages_of_a_batch_are_redelivered() {
    let mut sim = Simulation::new(3, Rates::each(0), Log::default()).await;
    let mut batch = Batch::new(&mut sim).await;
    for bits in 0..1 << BATCH {
        batch.send(&sim).await;
        let failing = batch.subset(bits);
        // An unavailable store and a refusal are handled differently, so alternate.
        let fault =
            if bits.count_ones() % 2 == 0 { DynamoFault::INTERNAL } else { DynamoFault::DENIED };
        let names: Vec<String> = failing.iter().map(ProductId::to_string).collect();
        sim.processes[1].dynamodb.plan(move |call| {
            let hit = call.starts_with("PutItem") && names.iter().any(|id| call.contains(id));
            hit.then_some(fault)
        });
        sim.finish(Operation::Intake).await;
        assert_eq!(queued(&sim).await, failing, "subset {bits:#012b}");
        let expected = batch
            .messages
            .iter()
            .map(|(id, _)| if failing.contains(id) { batch.version - 1 } else { batch.version });
        // With this stride each product is sometimes among the failed and sometimes not.
        if bits % 11 == 0 {
            assert_eq!(listed(&sim, &batch).await, expected.collect::<Vec<_>>());
        }
        sim.processes[1].dynamodb.clear();
        sim.env.clock.advance(Duration::from_mins(1));
        sim.finish(Operation::Intake).await;
        assert!(queued(&sim).await.is_empty(), "subset {bits:#012b} is stuck");
    }
    assert_eq!(listed(&sim, &batch).await, vec![batch.version; BATCH as usize]);
    println!("{} subsets of a batch of {BATCH}", 1 << BATCH);
    sim.end().await;
}
