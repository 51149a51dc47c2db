//! What operators get while the listings are out: a 503 that their scripts retry.

use axum::Router;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::Queues;
use shared::contract::routes::ROUTES;
use shared::host::server::with_standard_layers;
use shared::http::auth::Role;
use sqlx::PgPool;
use sync::{App, Listings};
use testkit::{Call, DynamoFault, Faults, TestResponse, faulty_dynamodb};

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
