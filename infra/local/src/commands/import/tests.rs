//! Batches whose responses arrive in another order than the rows of the file, or not for every row.

use std::io::{Seek as _, Write as _};
use std::sync::Mutex;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::{serve, within};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;

/// An edition that responds to the batch with the first row of the file only after it has responded to
/// `others` batches.
struct Edition {
    others: u32,
    /// One for each response to another batch.
    responses: Semaphore,
    /// The key and the items of each batch.
    batches: Mutex<Vec<(String, Vec<Value>)>>,
    /// Responds to a batch. It also gets the number of earlier requests with its key.
    respond: Respond,
}

type Respond = fn(&[Value], usize) -> Response;

async fn create(
    State(edition): State<Arc<Edition>>,
    headers: HeaderMap,
    Json(batch): Json<Value>,
) -> Response {
    let items = batch["items"].as_array().unwrap();
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let earlier = {
        let mut batches = edition.batches.lock().unwrap();
        batches.push((key.clone(), items.clone()));
        batches.iter().filter(|(other, _)| *other == key).count() - 1
    };
    if items[0]["sku"] == "S-0" {
        edition.responses.acquire_many(edition.others).await.unwrap().forget();
    } else {
        edition.responses.add_permits(1);
    }
    (edition.respond)(items, earlier)
}

/// The report of an import of these rows, and the batches that it sent.
async fn import(
    rows: &[String],
    others: u32,
    respond: Respond,
) -> (Value, Vec<(String, Vec<Value>)>) {
    let (responses, batches) = (Semaphore::new(0), Mutex::default());
    let edition = Arc::new(Edition { others, responses, batches, respond });
    let router = Router::new().route("/v1/products/batch", post(create));
    let router = router.with_state(Arc::clone(&edition));
    let client = Client::new(&serve(router).await).unwrap();
    let client = client.with_token(Secret::new("token".to_owned()));

    let mut file = tempfile::tempfile().unwrap();
    writeln!(file, "sku,name,category,price").unwrap();
    for row in rows {
        writeln!(file, "{row}").unwrap();
    }
    file.rewind().unwrap();
    let mut records = Records::new(file).unwrap();
    let header = records.next().unwrap().unwrap();
    let columns = Arc::new(Columns::read(&header.cells, &[]).unwrap());
    let chunks = Chunks::new(records, Arc::clone(&columns), Currency::default(), false);
    let progress = Progress::begin(Style::Lines, "importing", 0, Unit::Bytes);
    let report = work(chunks, Some(&client), &columns, Report::new(false), &progress);
    let report = within("the import", Box::pin(report)).await;
    let batches = edition.batches.lock().unwrap().clone();
    (serde_json::to_value(report).unwrap(), batches)
}

/// Valid rows, which fill batches of 100.
fn rows(count: usize) -> Vec<String> {
    (0..count).map(|row| format!("S-{row},Shoe {row},shoes,{row}")).collect()
}

/// Line and detail of each fault that the report lists.
fn listed(report: &Value) -> Vec<(u64, &str)> {
    assert_eq!(report["stopped"], Value::Null);
    let faults = report["faults"].as_array().unwrap().iter();
    faults.map(|f| (f["line"].as_u64().unwrap(), f["detail"].as_str().unwrap())).collect()
}

fn counts(report: &Value) -> [u64; 4] {
    ["rows", "created", "already_there", "failed"].map(|name| report[name].as_u64().unwrap())
}

/// A result with this status, whose problem names the item.
fn refused(status: u16, item: &Value) -> Value {
    json!({"status": status, "problem": {
        "type": "/docs/problems/validation_failed", "title": "Refused", "status": status,
        "code": "validation_failed", "detail": item["sku"], "request_id": Uuid::from_u128(7),
    }})
}

/// A result for each item of a batch: those at `places` are refused, the others are created.
fn results(items: &[Value], status: u16, places: &[usize]) -> Response {
    let result = |(place, item)| {
        if places.contains(&place) { refused(status, item) } else { json!({"status": 201}) }
    };
    let results: Vec<Value> = items.iter().enumerate().map(result).collect();
    Json(json!({"results": results})).into_response()
}

#[tokio::test]
async fn faults_are_listed_in_the_order_of_the_file() {
    let (report, batches) = import(&rows(250), 2, |items, _| results(items, 422, &[0])).await;
    assert_eq!(listed(&report), [(2, "S-0"), (102, "S-100"), (202, "S-200")]);
    assert_eq!(counts(&report), [250, 247, 0, 3]);
    let mut skus: Vec<_> = batches.iter().flat_map(|(_, items)| items).collect();
    skus.sort_by_key(|item| item["price"]["amount"].as_u64());
    let skus: Vec<_> = skus.iter().map(|item| item["sku"].as_str().unwrap().to_owned()).collect();
    assert_eq!(skus, (0..250).map(|row| format!("S-{row}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn faults_of_the_file_and_of_the_api_are_in_one_order() {
    let mut rows = rows(12);
    rows[4] = "S-4,Shoe 4,shoes,cheap".to_owned();
    // The row at fault is not sent, so the tenth item is the eleventh row.
    let (report, _) = import(&rows, 0, |items, _| results(items, 422, &[0, 9])).await;
    let lines: Vec<u64> = listed(&report).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 6, 12]);
    assert_eq!(counts(&report), [12, 9, 0, 3]);
}

#[tokio::test]
async fn import_that_stops_reports_every_batch_before_that_place() {
    let (report, _) = import(&rows(250), 1, |items, _| match items[0]["sku"].as_str() {
        Some("S-0") => results(items, 422, &[0]),
        _ => StatusCode::FORBIDDEN.into_response(),
    })
    .await;
    assert_eq!(counts(&report), [100, 99, 0, 1]);
    assert!(report["stopped"].as_str().unwrap().contains("403"), "{report}");
}

#[tokio::test]
async fn batch_is_repeated_with_its_key_until_each_item_has_a_result() {
    let respond: Respond = |items, earlier| {
        if earlier == 0 {
            // The store does not respond for the second item.
            return results(items, 503, &[1]);
        }
        let mut results = vec![json!({"status": 201, "replayed": true}); items.len()];
        results[1] = json!({"status": 201});
        Json(json!({"results": results})).into_response()
    };
    let (report, batches) = import(&rows(3), 0, respond).await;
    assert_eq!(counts(&report), [3, 1, 2, 0]);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0], batches[1]);
}

#[tokio::test]
async fn same_file_has_the_same_key_for_each_batch() {
    let keys = async || {
        let (_, batches) = import(&rows(250), 0, |items, _| results(items, 422, &[])).await;
        batches.into_iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>()
    };
    let (first, second) = (keys().await, keys().await);
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|key| key.starts_with("import-")), "{first:?}");
    assert_eq!(first, second);
}
