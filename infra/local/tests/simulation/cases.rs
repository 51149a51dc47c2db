//! Every kind of step of the core path, each with what has to be there before it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use serde_json::{Value, json};
use shared::contract::listing::{categories_key, key_of};
use shared::contract::sync_feed::bucket_of;
use testkit::DynamoFault;
use uuid::Uuid;

use crate::operation::{Done, Operation};
use crate::points::{Plan, Stop};
use crate::process::TABLE;
use crate::world::{Outcome, World};

/// The process that things happen to; the other one prepares them.
pub(crate) const PATIENT: usize = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Create,
    CreateBatch,
    Change,
    /// A change that was overtaken so often that it locks the product.
    ChangeBehindLock,
    Delete,
    Restore,
    SetStock,
    AdjustStock,
    Relay,
    Repair,
    Intake,
    /// A message that cannot be read.
    IntakeOfPoison,
    /// While the store does not answer.
    IntakeWithoutStore,
    Redrive,
    Reconcile,
    /// The last bucket of a run, and what follows from it.
    EndOfRun,
}

/// An operation that can go ahead.
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

    /// Makes everything that the step needs.
    pub(crate) async fn prepare(self, world: &mut World) -> Ready {
        Ready::Begin(match self {
            Self::Create => {
                let product = world.product();
                world.send(Method::POST, "/v1/products".to_owned(), Some(product))
            }
            Self::CreateBatch => {
                let items = [world.product(), world.product()];
                let body = json!({"items": items});
                world.send(Method::POST, "/v1/products/batch".to_owned(), Some(body))
            }
            Self::Change => {
                let id = world.create().await;
                let name = format!("Renamed {}", world.serial());
                world.send(Method::PATCH, format!("/v1/products/{id}"), Some(json!({"name": name})))
            }
            Self::ChangeBehindLock => return overtaken(world).await,
            Self::Delete => {
                let id = world.create().await;
                world.send(Method::DELETE, format!("/v1/products/{id}"), None)
            }
            Self::Restore => {
                let id = world.create().await;
                let path = format!("/v1/products/{id}");
                let delete = world.send(Method::DELETE, path.clone(), None);
                world.finish(delete).await;
                world.send(Method::POST, format!("{path}/restore"), None)
            }
            Self::SetStock => {
                let id = world.create().await;
                let path = format!("/v1/products/{id}/stock");
                world.send(Method::PUT, path, Some(json!({"on_hand": 9})))
            }
            Self::AdjustStock => {
                let id = world.create().await;
                let path = format!("/v1/products/{id}/stock/adjustments");
                let body = json!({"delta": 1, "reason": "found"});
                world.send(Method::POST, path, Some(body))
            }
            Self::Relay => {
                world.create().await;
                Operation::Relay
            }
            Self::Repair => {
                let id = world.create().await;
                ask_for_repair(world, id).await;
                Operation::Repair
            }
            Self::Intake => {
                world.create().await;
                world.finish(Operation::Relay).await;
                Operation::Intake
            }
            Self::IntakeOfPoison => {
                send_poison(world).await;
                Operation::Intake
            }
            Self::IntakeWithoutStore => {
                world.create().await;
                world.finish(Operation::Relay).await;
                world.processes[PATIENT].dynamodb.plan(|_| Some(DynamoFault::THROTTLED));
                Operation::Intake
            }
            Self::Redrive => {
                world.create().await;
                world.finish(Operation::Relay).await;
                bury(world).await;
                Operation::Redrive
            }
            Self::Reconcile => {
                end_of_runs(world).await;
                let id = world.create().await;
                world.settle().await;
                lose_listing(world, id).await;
                point_out(world, id).await;
                Operation::Reconcile
            }
            Self::EndOfRun => {
                end_of_runs(world).await;
                world.finish(Operation::Reconcile).await;
                spoil_categories(world).await;
                skip_to_the_end(world).await;
                Operation::Reconcile
            }
        })
    }

    /// Lets the step go ahead.
    pub(crate) async fn go(world: &mut World, ready: Ready, plan: Option<Plan>) -> Outcome {
        match ready {
            Ready::Begin(operation) => world.begin(PATIENT, operation, plan).await,
            Ready::Resume(id) => world.resume(id, plan).await,
        }
    }

    /// What operators and the machinery do until everything is as it should be.
    pub(crate) async fn mend(self, world: &mut World) {
        for process in &world.processes {
            process.line.faults.clear();
            process.dynamodb.clear();
        }
        while let Some(request) = world.model.unanswered.pop() {
            world.finish(Operation::Request(request)).await;
        }
        if let Self::Reconcile | Self::EndOfRun = self {
            // Longer than a lease, so that what a dead worker had is taken up.
            world.around.clock.advance(Duration::from_mins(2));
        }
        if self == Self::Reconcile {
            end_of_runs(world).await;
            point_out(world, *world.model.products.last().unwrap()).await;
            while is_pointed_out(world).await {
                world.around.clock.advance(Duration::from_secs(2));
                world.finish(Operation::Reconcile).await;
            }
        }
        if self == Self::EndOfRun {
            while is_running(world).await {
                world.around.clock.advance(Duration::from_secs(2));
                world.finish(Operation::Reconcile).await;
            }
            let categories = world.categories().await;
            assert!(!categories.contains("nobody"), "{categories}");
        }
        if self == Self::IntakeOfPoison {
            // It can never be read, so an operator gives it up.
            world.around.clock.advance(Duration::from_mins(2));
            world.finish(Operation::Intake).await;
            give_poison_up(world).await;
        }
        world.settle().await;
    }
}

impl World {
    /// A product that nobody has sent yet.
    pub(crate) fn product(&mut self) -> Value {
        let nth = self.serial();
        json!({
            "sku": format!("SKU-{nth}"), "name": format!("Product {nth}"), "category": "shoes",
            "attributes": {"size": 42}, "price": {"amount": nth, "currency": "BRL"},
            "stock": {"on_hand": 3},
        })
    }

    pub(crate) async fn create(&mut self) -> Uuid {
        let product = self.product();
        let operation = self.send(Method::POST, "/v1/products".to_owned(), Some(product));
        let Done::Answered(answer) = self.finish(operation).await else { unreachable!() };
        answer.expect(201).json["id"].as_str().unwrap().parse().unwrap()
    }

    async fn sql(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database.pool).await.unwrap();
    }
}

/// A change that lost every race that it may lose.
async fn overtaken(world: &mut World) -> Ready {
    let id = world.create().await;
    let hold = Some(Plan::At("change.read", Stop::Hold));
    let patch = |world: &mut World| {
        let name = format!("Renamed {}", world.serial());
        let body = json!({"name": name});
        world.send(Method::PATCH, format!("/v1/products/{id}"), Some(body))
    };
    let slow = patch(world);
    let outcome = world.begin(PATIENT, slow, hold).await;
    assert!(outcome.is_held_at("change.read"), "{outcome:?}");
    let slow = *world.running.keys().next().unwrap();
    for race in 0..3 {
        let fast = patch(world);
        world.finish(fast).await;
        if race < 2 {
            let outcome = world.resume(slow, hold).await;
            assert!(outcome.is_held_at("change.read"), "{outcome:?}");
        }
    }
    Ready::Resume(slow)
}

async fn ask_for_repair(world: &World, id: Uuid) {
    sqlx::query(
        "insert into inventory.repair_requests (product_id, part, seen_version, requested_at)
         values ($1, 'product', 7, now()), ($1, 'stock', 7, now())",
    )
    .bind(id)
    .execute(&world.database.pool)
    .await
    .unwrap();
}

async fn send_poison(world: &World) {
    sqlx::query(
        "insert into bus.messages (queue, event_id, event_type, subject, body, sent_at, visible_at)
         values ('catalog', gen_random_uuid(), 'ProductCreated', gen_random_uuid(), 'poison', $1, $1)",
    )
    .bind(world.around.clock.now())
    .execute(&world.database.pool)
    .await
    .unwrap();
}

async fn give_poison_up(world: &World) {
    let gone = sqlx::query("delete from bus.dead_letters where body = 'poison'")
        .execute(&world.database.pool)
        .await
        .unwrap();
    assert!(gone.rows_affected() > 0, "the poison is no dead letter");
}

/// Makes every waiting message a dead letter.
async fn bury(world: &World) {
    world
        .sql(
            "with gone as (delete from bus.messages returning *)
             insert into bus.dead_letters
                 (id, queue, event_id, event_type, subject, body, reason, attempts, sent_at, dead_at)
             select id, queue, event_id, event_type, subject, body, 'planted', 5, sent_at, sent_at
             from gone",
        )
        .await;
}

async fn end_of_runs(world: &World) {
    world.sql("update sync.runs set finished_at = requested_at where finished_at is null").await;
}

async fn lose_listing(world: &World, id: Uuid) {
    let delete = world.around.dynamodb.delete_item().table_name(TABLE).set_key(Some(key_of(id)));
    delete.send().await.unwrap();
}

/// Has the bucket of a product come first.
async fn point_out(world: &World, id: Uuid) {
    sqlx::query("update sync.buckets set checked_at = null where bucket = $1")
        .bind(i32::from(bucket_of(id)))
        .execute(&world.database.pool)
        .await
        .unwrap();
}

async fn is_running(world: &World) -> bool {
    sqlx::query_scalar("select exists (select from sync.runs where finished_at is null)")
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}

async fn is_pointed_out(world: &World) -> bool {
    sqlx::query_scalar("select exists (select from sync.buckets where checked_at is null)")
        .fetch_one(&world.database.pool)
        .await
        .unwrap()
}

/// A category too many, and one too few.
async fn spoil_categories(world: &World) {
    let categories = AttributeValue::Ss(vec!["nobody".to_owned()]);
    let item = HashMap::from([("categories".to_owned(), categories)]);
    let item = item.into_iter().chain(categories_key()).collect();
    let put = world.around.dynamodb.put_item().table_name(TABLE).set_item(Some(item));
    put.send().await.unwrap();
}

/// The current run has done all buckets but one.
async fn skip_to_the_end(world: &mut World) {
    world
        .sql(
            "update sync.buckets set done = true, checked_at = to_timestamp(1), lease = null,
                 lease_until = null,
                 run_id = (select id from sync.runs where finished_at is null)
             where bucket >= 1",
        )
        .await;
    world
        .sql(
            "update sync.buckets set done = false, checked_at = to_timestamp(0), lease = null,
                 lease_until = null
             where bucket < 1",
        )
        .await;
    world.around.clock.advance(Duration::from_secs(2));
}
