//! Every kind of step of the core path, with its preparation and its clean-up.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use serde_json::{Value, json};
use shared::contract::listing::{categories_key, key_of};
use shared::contract::sync_feed::bucket_of;
use shared::id::ProductId;
use testkit::DynamoFault;

use crate::operation::{Done, Operation};
use crate::points::{Plan, Stop};
use crate::process::TABLE;
use crate::simulation::{Outcome, Simulation};

/// The process that gets the faults. The other process prepares the steps.
pub(crate) const UNDER_TEST: usize = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Create,
    CreateBatch,
    Change,
    /// A change that lost so many races that it locks the product.
    ChangeBehindLock,
    Delete,
    Restore,
    SetStock,
    AdjustStock,
    Relay,
    Repair,
    Intake,
    /// An unreadable message.
    IntakeOfPoison,
    /// A batch while the store throttles every call.
    IntakeWithoutStore,
    Redrive,
    Reconcile,
    /// The last bucket of a run, and the end of the run.
    EndOfRun,
}

/// A prepared operation.
pub(crate) enum Ready {
    Begin(Operation),
    Resume(u64),
}

impl Case {
    pub(crate) const ALL: [Self; 16] = [
        Self::Create,
        Self::CreateBatch,
        Self::Change,
        Self::ChangeBehindLock,
        Self::Delete,
        Self::Restore,
        Self::SetStock,
        Self::AdjustStock,
        Self::Relay,
        Self::Repair,
        Self::Intake,
        Self::IntakeOfPoison,
        Self::IntakeWithoutStore,
        Self::Redrive,
        Self::Reconcile,
        Self::EndOfRun,
    ];

    /// Creates everything that the step needs.
    pub(crate) async fn prepare(self, sim: &mut Simulation) -> Ready {
        Ready::Begin(match self {
            Self::Create => {
                let product = sim.product();
                sim.send(Method::POST, "/v1/products".to_owned(), Some(product))
            }
            Self::CreateBatch => {
                let items = [sim.product(), sim.product()];
                let body = json!({"items": items});
                sim.send(Method::POST, "/v1/products/batch".to_owned(), Some(body))
            }
            Self::Change => {
                let id = sim.create().await;
                let name = format!("Renamed {}", sim.serial());
                sim.send(Method::PATCH, format!("/v1/products/{id}"), Some(json!({"name": name})))
            }
            Self::ChangeBehindLock => return overtaken(sim).await,
            Self::Delete => {
                let id = sim.create().await;
                sim.send(Method::DELETE, format!("/v1/products/{id}"), None)
            }
            Self::Restore => {
                let id = sim.create().await;
                let path = format!("/v1/products/{id}");
                let delete = sim.send(Method::DELETE, path.clone(), None);
                sim.finish(delete).await;
                sim.send(Method::POST, format!("{path}/restore"), None)
            }
            Self::SetStock => {
                let id = sim.create().await;
                let path = format!("/v1/products/{id}/stock");
                sim.send(Method::PUT, path, Some(json!({"on_hand": 9})))
            }
            Self::AdjustStock => {
                let id = sim.create().await;
                let path = format!("/v1/products/{id}/stock/adjustments");
                let body = json!({"delta": 1, "reason": "found"});
                sim.send(Method::POST, path, Some(body))
            }
            Self::Relay => {
                sim.create().await;
                Operation::Relay
            }
            Self::Repair => {
                let id = sim.create().await;
                ask_for_repair(sim, id).await;
                Operation::Repair
            }
            Self::Intake => {
                sim.create().await;
                sim.finish(Operation::Relay).await;
                Operation::Intake
            }
            Self::IntakeOfPoison => {
                send_poison(sim).await;
                Operation::Intake
            }
            Self::IntakeWithoutStore => {
                sim.create().await;
                sim.finish(Operation::Relay).await;
                sim.processes[UNDER_TEST].dynamodb.plan(|_| Some(DynamoFault::THROTTLED));
                Operation::Intake
            }
            Self::Redrive => {
                sim.create().await;
                sim.finish(Operation::Relay).await;
                make_dead_letters(sim).await;
                Operation::Redrive
            }
            Self::Reconcile => {
                finish_all_runs(sim).await;
                let id = sim.create().await;
                sim.settle().await;
                delete_listing(sim, id).await;
                put_bucket_first(sim, id).await;
                Operation::Reconcile
            }
            Self::EndOfRun => {
                finish_all_runs(sim).await;
                sim.finish(Operation::Reconcile).await;
                corrupt_categories(sim).await;
                skip_to_last_bucket(sim).await;
                Operation::Reconcile
            }
        })
    }

    /// Runs the step.
    pub(crate) async fn run(sim: &mut Simulation, ready: Ready, plan: Option<Plan>) -> Outcome {
        match ready {
            Ready::Begin(operation) => sim.begin(UNDER_TEST, operation, plan).await,
            Ready::Resume(id) => sim.resume(id, plan).await,
        }
    }

    /// Stops the faults, and does what operators and background workers do until the stores agree.
    pub(crate) async fn clean_up(self, sim: &mut Simulation) {
        for process in &sim.processes {
            process.postgres.faults.clear();
            process.dynamodb.clear();
        }
        while let Some(request) = sim.model.without_response.pop() {
            sim.finish(Operation::Request(request)).await;
        }
        if let Self::Reconcile | Self::EndOfRun = self {
            // Longer than a lease, so that another worker takes over.
            sim.env.clock.advance(Duration::from_mins(2));
        }
        if self == Self::Reconcile {
            finish_all_runs(sim).await;
            put_bucket_first(sim, *sim.model.products.last().unwrap()).await;
            while has_unchecked_bucket(sim).await {
                sim.env.clock.advance(Duration::from_secs(2));
                sim.finish(Operation::Reconcile).await;
            }
        }
        if self == Self::EndOfRun {
            while is_running(sim).await {
                sim.env.clock.advance(Duration::from_secs(2));
                sim.finish(Operation::Reconcile).await;
            }
            let categories = sim.categories().await;
            assert!(!categories.contains(&"unused".to_owned()), "{categories:?}");
        }
        if self == Self::IntakeOfPoison {
            // It stays unreadable, so an operator discards it.
            sim.env.clock.advance(Duration::from_mins(2));
            sim.finish(Operation::Intake).await;
            discard_poison(sim).await;
        }
        sim.settle().await;
    }
}

impl Simulation {
    /// A new product for a create.
    pub(crate) fn product(&mut self) -> Value {
        let nth = self.serial();
        json!({
            "sku": format!("SKU-{nth}"), "name": format!("Product {nth}"), "category": "shoes",
            "attributes": {"size": 42}, "price": {"amount": nth, "currency": "BRL"},
            "stock": {"on_hand": 3},
        })
    }

    pub(crate) async fn create(&mut self) -> ProductId {
        let product = self.product();
        let operation = self.send(Method::POST, "/v1/products".to_owned(), Some(product));
        let Done::Response(response) = self.finish(operation).await else { unreachable!() };
        response.expect(201).json["id"].as_str().unwrap().parse().unwrap()
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database.pool).await.unwrap();
    }
}

/// A change that has lost as many races as it may lose.
async fn overtaken(sim: &mut Simulation) -> Ready {
    let id = sim.create().await;
    let hold = Some(Plan::At("change.read", Stop::Hold));
    let patch = |sim: &mut Simulation| {
        let name = format!("Renamed {}", sim.serial());
        let body = json!({"name": name});
        sim.send(Method::PATCH, format!("/v1/products/{id}"), Some(body))
    };
    let slow = patch(sim);
    let outcome = sim.begin(UNDER_TEST, slow, hold).await;
    assert!(outcome.is_held_at("change.read"), "{outcome:?}");
    let slow = *sim.running.keys().next().unwrap();
    for race in 0..3 {
        let fast = patch(sim);
        sim.finish(fast).await;
        if race < 2 {
            let outcome = sim.resume(slow, hold).await;
            assert!(outcome.is_held_at("change.read"), "{outcome:?}");
        }
    }
    Ready::Resume(slow)
}

async fn ask_for_repair(sim: &Simulation, id: ProductId) {
    sqlx::query(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         values ($1, 'product', 7, now()), ($1, 'stock', 7, now())",
    )
    .bind(id)
    .execute(&sim.database.pool)
    .await
    .unwrap();
}

async fn send_poison(sim: &Simulation) {
    sqlx::query(
        "insert into bus.messages (queue, event_id, event_type, subject, body, sent_at, visible_at)
         values ('catalog', gen_random_uuid(), 'ProductCreated', gen_random_uuid(), 'poison', $1, $1)",
    )
    .bind(sim.env.clock.now())
    .execute(&sim.database.pool)
    .await
    .unwrap();
}

async fn discard_poison(sim: &Simulation) {
    let deleted = sqlx::query("delete from bus.dead_letters where body = 'poison'")
        .execute(&sim.database.pool)
        .await
        .unwrap();
    assert!(deleted.rows_affected() > 0, "the poison is not a dead letter");
}

/// Makes every queued message a dead letter.
async fn make_dead_letters(sim: &Simulation) {
    sim
        .sql(
            "with gone as (delete from bus.messages returning *)
             insert into bus.dead_letters
                 (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at, dead_at)
             select id, queue, event_id, event_type, subject, body, 'planted', 5, sent_at, sent_at
             from gone",
        )
        .await;
}

async fn finish_all_runs(sim: &Simulation) {
    sim.sql("update sync.runs set finished_at = requested_at where finished_at is null").await;
}

async fn delete_listing(sim: &Simulation, id: ProductId) {
    let delete = sim.env.dynamodb.delete_item().table_name(TABLE).set_key(Some(key_of(id)));
    delete.send().await.unwrap();
}

/// Makes the bucket of a product the next to be checked.
async fn put_bucket_first(sim: &Simulation, id: ProductId) {
    sqlx::query("update sync.buckets set checked_at = null where bucket = $1")
        .bind(i32::from(bucket_of(id)))
        .execute(&sim.database.pool)
        .await
        .unwrap();
}

async fn is_running(sim: &Simulation) -> bool {
    sqlx::query_scalar("select exists (select from sync.runs where finished_at is null)")
        .fetch_one(&sim.database.pool)
        .await
        .unwrap()
}

async fn has_unchecked_bucket(sim: &Simulation) -> bool {
    sqlx::query_scalar("select exists (select from sync.buckets where checked_at is null)")
        .fetch_one(&sim.database.pool)
        .await
        .unwrap()
}

/// Replaces the set of categories: one is too many, and the real ones are missing.
async fn corrupt_categories(sim: &Simulation) {
    let categories = AttributeValue::Ss(vec!["unused".to_owned()]);
    let item = HashMap::from([("categories".to_owned(), categories)]);
    let item = item.into_iter().chain(categories_key()).collect();
    let put = sim.env.dynamodb.put_item().table_name(TABLE).set_item(Some(item));
    put.send().await.unwrap();
}

/// Marks all buckets but one of the current run as done.
async fn skip_to_last_bucket(sim: &mut Simulation) {
    sim.sql(
        "update sync.buckets set done = true, checked_at = to_timestamp(1), lease = null,
                 lease_until = null,
                 run_id = (select id from sync.runs where finished_at is null)
             where bucket >= 1",
    )
    .await;
    sim.sql(
        "update sync.buckets set done = false, checked_at = to_timestamp(0), lease = null,
                 lease_until = null
             where bucket < 1",
    )
    .await;
    sim.env.clock.advance(Duration::from_secs(2));
}
