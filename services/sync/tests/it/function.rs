//! The service's program as functions of Lambda.

use serde_json::{Value, json};
use shared::testkit::Function;

use crate::world::{OPERATOR, TABLE, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sync");

async fn start(world: &World, role: &str) -> Function {
    let auth = world.tokens.settings().await;
    let auth = auth.iter().map(|(name, value)| (*name, value.as_str()));
    let mut settings: Vec<(&str, &str)> = auth.collect();
    settings.extend([
        ("VITRINA_ROLE", role),
        ("VITRINA_SYNC_SLICE", "1024"),
        ("DATABASE_URL", world.database.url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", world.dynamo.endpoint.as_str()),
    ]);
    Function::start(PROGRAM, &settings).await
}

#[tokio::test]
async fn an_invocation_finds_and_repairs_what_differs_and_says_so() {
    let (world, ids) = World::with_products(3).await;
    let delete = world.client.delete_item().table_name(TABLE);
    delete.set_key(Some(World::key(ids[1]))).send().await.unwrap();
    let mut reconcile = start(&world, "reconcile").await;
    assert_eq!(reconcile.invoke(json!({"time": "now"})).await, Ok(Value::Null));
    assert_eq!(reconcile.metric("drift_found"), [1.0]);
    assert_eq!(reconcile.metric("drift_repaired"), [1.0]);
    let ages = reconcile.metric("buckets_oldest_checked_seconds");
    assert!(ages.len() == 1 && ages[0].as_f64().unwrap() < 60.0, "{ages:?}");
    world.arrive().await;
    assert!(world.listing(ids[1]).await.is_some());
    // Its age is said each time, and nothing is found twice.
    assert_eq!(reconcile.invoke(json!({})).await, Ok(Value::Null));
    assert_eq!(reconcile.metric("buckets_oldest_checked_seconds").len(), 2);
    assert_eq!(reconcile.metric("drift_found").len(), 1);
}

#[tokio::test]
async fn a_run_that_is_asked_for_is_done_by_the_next_invocation() {
    let (world, _) = World::with_products(2).await;
    let mut api = start(&world, "api").await;
    // The function goes by the clock of the machine, which is ahead of the world's.
    let claims = json!({"sub": OPERATOR, "roles": ["operator"], "exp": 4_000_000_000_i64});
    let bearer = format!("Bearer {}", world.tokens.with_claims(claims));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let asked = api.ask("POST", "/v1/admin/reconciliations", &headers, "{}").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let mut reconcile = start(&world, "reconcile").await;
    assert_eq!(reconcile.invoke(json!({})).await, Ok(Value::Null));
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/reconciliations/{id}");
    let report = api.ask("GET", &path, &headers, "").await;
    assert!(report.json()["finished_at"].is_string(), "{}", report.body);
    assert_eq!(report.json()["compared"], 2);
}
