//! Batches whose responses arrive in another order than the rows of the file.

use std::io::{Seek as _, Write as _};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::within;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;

/// An edition that responds to the batch with the first row of the file only after it has responded to
/// `others` batches.
struct Edition {
    others: u32,
    /// One for each response to another batch.
    responses: Semaphore,
    /// Responds to a batch, by the SKU of its first item.
    respond: fn(&str) -> Response,
}

async fn create(State(edition): State<Arc<Edition>>, Json(batch): Json<Value>) -> Response {
    let sku = batch["items"][0]["sku"].as_str().unwrap();
    if sku == "S-0" {
        edition.responses.acquire_many(edition.others).await.unwrap().forget();
    } else {
        edition.responses.add_permits(1);
    }
    (edition.respond)(sku)
}

/// The report of an import of 250 rows, in batches of 100, 100 and 50.
async fn import(others: u32, respond: fn(&str) -> Response) -> Value {
    let edition = Arc::new(Edition { others, responses: Semaphore::new(0), respond });
    let router = Router::new().route("/v1/products/batch", post(create)).with_state(edition);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let client = client.with_token(Secret::new("token".to_owned()));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let mut file = tempfile::tempfile().unwrap();
    writeln!(file, "sku,name,category,price").unwrap();
    for row in 0..250 {
        writeln!(file, "S-{row},Shoe {row},shoes,{row}").unwrap();
    }
    file.rewind().unwrap();
    let mut records = Records::new(file).unwrap();
    let header = records.next().unwrap().unwrap();
    let columns = Arc::new(Columns::read(&header.cells, &[]).unwrap());
    let chunks = Chunks::new(records, Arc::clone(&columns), Currency::default(), false);
    let progress = Progress::begin(Style::Lines, "importing", 0, Unit::Bytes);
    let report = work(chunks, Some(&client), &columns, Report::new(false), &progress);
    let report = within("the import", Box::pin(report)).await;
    server.abort();
    serde_json::to_value(report).unwrap()
}

/// A result for each item of a batch: the first is refused, the others are created.
fn first_is_refused(sku: &str) -> Response {
    let count = if sku == "S-200" { 50 } else { 100 };
    let mut results = vec![json!({"status": 201}); count];
    results[0] = json!({"status": 422, "problem": {
        "type": "/docs/problems/validation_failed", "title": "Refused", "status": 422,
        "code": "validation_failed", "detail": sku, "request_id": Uuid::from_u128(7),
    }});
    Json(json!({"results": results})).into_response()
}

#[tokio::test]
async fn faults_are_listed_in_the_order_of_the_file() {
    let report = import(2, first_is_refused).await;
    assert_eq!(report["stopped"], Value::Null);
    let faults = report["faults"].as_array().unwrap().iter();
    let listed: Vec<_> = faults.map(|f| (f["line"].as_u64(), f["detail"].as_str())).collect();
    let line = |line, sku| (Some(line), Some(sku));
    assert_eq!(listed, [line(2, "S-0"), line(102, "S-100"), line(202, "S-200")]);
    assert_eq!((&report["rows"], &report["created"]), (&json!(250), &json!(247)));
}

#[tokio::test]
async fn import_that_stops_reports_every_batch_before_that_place() {
    let report = import(1, |sku| match sku {
        "S-0" => first_is_refused(sku),
        _ => StatusCode::FORBIDDEN.into_response(),
    });
    let report = report.await;
    assert_eq!((&report["rows"], &report["created"]), (&json!(100), &json!(99)));
    assert!(report["stopped"].as_str().unwrap().contains("403"), "{report}");
}
