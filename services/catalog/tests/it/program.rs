use serde_json::Value;
use shared::bus;
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::contract::routes::CATALOG_QUEUE;
use testkit::{Program, database, dynamodb, within};

use crate::{Catalogue, filled};

const PROGRAM: &str = env!("CARGO_BIN_EXE_catalog");

#[tokio::test]
async fn each_process_role_reports_its_readiness() {
    let dynamo = dynamodb().await;
    catalog::table::ensure(&dynamo.client, "listings").await.unwrap();
    let database = database(&[&bus::MIGRATOR]).await;
    let process_roles = [
        ("api", serde_json::json!({"ready": true, "dynamodb": true}), 200),
        ("projector", serde_json::json!({"ready": true, "postgres": true, "dynamodb": true}), 404),
    ];
    for (process_role, expected, listing) in process_roles {
        let settings = [
            ("VITRINA_ROLE", process_role),
            ("DATABASE_URL", &database.url),
            ("AWS_ENDPOINT_URL", &dynamo.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ];
        let program = Program::start(PROGRAM, &settings).await;
        let (status, ready) = program.get("/readyz").await.unwrap();
        assert_eq!(status, 200, "{ready}");
        assert_eq!(serde_json::from_str::<Value>(&ready).unwrap(), expected);
        assert_eq!(program.get("/v1/catalog/products").await.unwrap().0, listing);
        if process_role == "projector" {
            let (_, metrics) = program.get("/metrics").await.unwrap();
            assert!(metrics.contains("vitrina_queue_visible"), "{metrics}");
        }
        assert_eq!(program.terminate().await, Some(0), "{process_role}");
    }
}

#[tokio::test]
async fn release_step_migrates_the_bus_and_needs_no_table() {
    let database = database(&[]).await;
    for _ in 0..2 {
        let step = tokio::process::Command::new(PROGRAM)
            .env_clear()
            .envs([("VITRINA_ROLE", "migrate"), ("DATABASE_URL", &database.url)])
            .kill_on_drop(true)
            .output();
        let ended = within("the release step", step).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
    let queue = Queue::new(database.pool, Clock::System, CATALOG_QUEUE);
    assert_eq!(queue.depth().await.unwrap().visible, 0);
}

#[tokio::test]
async fn program_lists_the_currency_of_its_setting() {
    let catalogue = Catalogue::new().await;
    filled(&catalogue, 30).await;
    for currency in ["EUR", "BRL"] {
        let settings = [
            ("VITRINA_ROLE", "api"),
            ("VITRINA_CURRENCY", currency),
            ("AWS_ENDPOINT_URL", &catalogue.dynamo.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ];
        let program = Program::start(PROGRAM, &settings).await;
        let (status, page) = program.get("/v1/catalog/products").await.unwrap();
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        let cards = page["data"].as_array().unwrap();
        let currencies: Vec<&Value> = cards.iter().map(|card| &card["price"]["currency"]).collect();
        assert!(!currencies.is_empty(), "{page}");
        assert!(currencies.iter().all(|it| **it == currency), "{currency}: {currencies:?}");
    }
}
