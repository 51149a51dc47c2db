//! The endpoints of reconciliations.

use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::Queue;
use shared::contract::routes::CATALOG_QUEUE;
use shared::http::auth::Role;
use sync::{App, Listings};
use testkit::{Call, TestResponse};

use crate::test_bed::{OPERATOR, TABLE, TestBed};

const PATH: &str = "/v1/admin/reconciliations";

fn router(bed: &TestBed) -> Router {
    let (pool, clock, ids) = (bed.database.pool.clone(), &bed.clock, &bed.ids);
    let queue = Queue::new(pool.clone(), clock.clone(), CATALOG_QUEUE);
    let dead_letters = DeadLetters::Postgres(queue);
    let listings = Listings::new(bed.client.clone(), TABLE);
    sync::router(App::new(pool, clock, ids, bed.tokens.verifier(), listings, dead_letters))
}

async fn ask(bed: &TestBed, router: &Router, role: Role, call: Call) -> TestResponse {
    let token = bed.tokens.token(OPERATOR, role);
    call.bearer(&token).send(router).await
}

#[tokio::test]
async fn operator_requests_a_run_and_follows_it_to_its_end() {
    let (bed, ids) = TestBed::with_products(3).await;
    bed.remove(ids[0]).await;
    let router = router(&bed);
    let call = Call::post(PATH).json(&json!({"deep": true}));
    let response = ask(&bed, &router, Role::Operator, call).await.expect(202);
    let body = &response.json;
    assert_eq!((&body["state"], &body["deep"]), (&json!("pending"), &json!(true)));

    bed.round().await;
    let call = Call::get(response.header("location"));
    let body = ask(&bed, &router, Role::Operator, call).await.expect(200).json;
    assert_eq!(body["state"], "finished");
    assert_eq!(body["progress"], json!({"buckets_done": 1024, "buckets": 1024}));
    assert_eq!((&body["compared"], &body["missing"]), (&json!(3), &json!(1)));
    assert_eq!(body["repaired"], 1);
    assert_eq!(body["requested_by"], json!(OPERATOR));
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages() {
    let bed = TestBed::new().await;
    let router = router(&bed);
    let mut requested = Vec::new();
    for _ in 0..3 {
        let call = Call::post(PATH).json(&json!({}));
        let response = ask(&bed, &router, Role::Operator, call).await.expect(202);
        requested.push(response.json["id"].clone());
        bed.clock.advance(Duration::from_secs(1));
    }
    requested.reverse();
    let call = Call::get(&format!("{PATH}?limit=2"));
    let first = ask(&bed, &router, Role::Operator, call).await.expect(200);
    assert!(first.header("link").contains("rel=\"next\""));
    let cursor = first.json["page"]["next_cursor"].as_str().unwrap();
    let call = Call::get(&format!("{PATH}?limit=2&cursor={cursor}"));
    let second = ask(&bed, &router, Role::Operator, call).await.expect(200);
    assert_eq!(second.json["page"]["has_more"], false);
    let all: Vec<Value> = [first.json, second.json]
        .iter()
        .flat_map(|page| page["data"].as_array().unwrap())
        .map(|run| run["id"].clone())
        .collect();
    assert_eq!(all, requested);
}

#[tokio::test]
async fn only_operators_read_or_request_runs() {
    let bed = TestBed::new().await;
    let router = router(&bed);
    let one = format!("{PATH}/{OPERATOR}");
    for role in [Role::Buyer, Role::Seller] {
        for call in [Call::post(PATH).json(&json!({})), Call::get(PATH), Call::get(&one)] {
            ask(&bed, &router, role, call).await.expect(403);
        }
    }
    ask(&bed, &router, Role::Operator, Call::get(&one)).await.expect(404);
    let call = Call::post(PATH).json(&json!({"depth": 3}));
    ask(&bed, &router, Role::Operator, call).await.expect(422);
}
