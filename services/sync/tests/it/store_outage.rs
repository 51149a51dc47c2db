//! What operators get while a store is out: a 503 that their scripts retry.

use axum::Router;
use serde_json::json;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::Queues;
use shared::contract::routes::ROUTES;
use shared::database::connect;
use shared::host::server::with_standard_layers;
use shared::http::auth::Role;
use shared::id::ProductId;
use sqlx::PgPool;
use sync::{App, Listings};
use testkit::{
    Call, DynamoFault, Faults, PostgresFault, TestResponse, faulty_dynamodb, faulty_postgres,
    patient_config,
};

use crate::consistency::routes;
use crate::test_bed::{OPERATOR, TABLE, TestBed};

/// The operators' API over other connections to the stores of `bed`.
pub(crate) fn operators_api(
    bed: &TestBed,
    pool: PgPool,
    client: aws_sdk_dynamodb::Client,
) -> Router {
    let dead_letters = Queues::new(pool.clone(), bed.clock.clone(), ROUTES);
    let app = App::new(
        pool,
        &bed.clock,
        &bed.ids,
        bed.tokens.verifier(),
        Listings::new(client, TABLE),
        DeadLetters::Postgres(dead_letters),
    );
    with_standard_layers(sync::router(app), &bed.clock, &bed.ids)
}

/// A request of each operation, with ids that exist.
async fn requests(bed: &TestBed, id: ProductId) -> Vec<(String, Call)> {
    let letter = bed.dead_letters().await[0]["id"].clone();
    let run = bed.reconciler.request(OPERATOR, false).await.unwrap();
    let request = |(method, path): (String, String)| {
        let id = match path.as_str() {
            "/v1/admin/dead-letters/{id}" => letter.to_string(),
            "/v1/admin/reconciliations/{id}" => run.to_string(),
            _ => id.to_string(),
        };
        let call = Call::new(method.parse().unwrap(), &path.replace("{id}", &id));
        let body = match method.as_str() {
            "GET" => None,
            _ if path.contains("dead-letters") => Some(json!({"all": true, "dry_run": true})),
            _ => Some(json!({})),
        };
        let call = match body {
            Some(body) => call.json(&body),
            None => call,
        };
        (format!("{method} {path}"), call.bearer(&bed.tokens.token(OPERATOR, Role::Operator)))
    };
    routes().into_iter().map(request).collect()
}

/// Asserts that a response says to try again, and nothing about the cause.
#[track_caller]
fn assert_unavailable(response: &TestResponse, what: &str) {
    assert_eq!(response.status, 503, "{what}: {}", response.text);
    assert_eq!((response.code(), response.header("retry-after")), ("unavailable", "1"), "{what}");
    for cause in ["planted", "57P01", "connection", "InternalServerError", "sync.", "bus."] {
        assert!(!response.text.contains(cause), "{what}: {}", response.text);
    }
}

#[tokio::test]
async fn each_operation_is_a_503_while_postgresql_is_out() {
    let (bed, id) = TestBed::with_dead_letters().await;
    let line = faulty_postgres(&bed.database.url).await;
    let pool = connect(&patient_config(line.url.clone(), 1)).unwrap();
    let api = operators_api(&bed, pool, bed.client.clone());
    for (what, call) in requests(&bed, id).await {
        line.faults.plan(|_| Some(PostgresFault::Refused("57P01")));
        assert_unavailable(&call.send(&api).await, &what);
    }
    // The same requests succeed once it is back.
    line.faults.clear();
    for (what, call) in requests(&bed, id).await {
        let response = call.send(&api).await;
        assert!(response.status.is_success(), "{what}: {}", response.text);
    }
}

#[tokio::test]
async fn trace_is_a_503_only_while_its_store_is_out() {
    let (bed, ids) = TestBed::with_products(1).await;
    bed.set_stock(ids[0], 9).await;
    let faults = Faults::default();
    let client = faulty_dynamodb(&bed.client, &faults);
    let api = operators_api(&bed, bed.database.pool.clone(), client);
    let token = bed.tokens.token(OPERATOR, Role::Operator);
    let trace = async || {
        let path = format!("/v1/admin/trace/{}", ids[0]);
        Call::get(&path).bearer(&token).send(&api).await
    };
    for fault in [DynamoFault::INTERNAL, DynamoFault::THROTTLED, DynamoFault::RequestLost] {
        faults.plan(move |_| Some(fault));
        assert_unavailable(&trace().await, &format!("{fault:?}"));
    }
    // A retry would not help.
    faults.plan(|_| Some(DynamoFault::DENIED));
    let refused = trace().await.expect(500);
    assert_eq!((refused.code(), refused.header("retry-after")), ("internal", ""));
    assert!(!refused.text.contains("AccessDenied"), "{}", refused.text);
    faults.clear();
    trace().await.expect(200);
}
