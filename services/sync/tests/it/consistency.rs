//! Which reads of DynamoDB may be stale, and what a pass finds when they are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::id::ProductId;
use testkit::{Call, Calls};

use crate::test_bed::{OPERATOR, RECONCILIATIONS, TestBed};

/// The reads of a pass. The first look may be stale, because a candidate is read again; the second look
/// and the set of categories decide what is written.
const PASS: &[&str] = &["BatchGetItem, strong", "GetItem, strong", "Query, eventual"];

/// Every reader with its reads.
const READERS: &[(&str, &[&str])] = &[
    ("GET /v1/admin/dead-letters", &[]),
    ("GET /v1/admin/dead-letters/{id}", &[]),
    ("GET /v1/admin/queues", &[]),
    ("GET /v1/admin/reconciliations", &[]),
    ("GET /v1/admin/reconciliations/{id}", &[]),
    // A trace must not say that an event is missing in a listing that has it.
    ("GET /v1/admin/trace/{id}", &["BatchGetItem, strong"]),
    ("POST /v1/admin/dead-letters/discard", &[]),
    ("POST /v1/admin/dead-letters/redrive", &[]),
    ("POST /v1/admin/reconciliations", &[]),
    ("deep pass", PASS),
    ("pass", PASS),
];

/// The routes that the API description names.
fn routes() -> Vec<(String, String)> {
    let document = serde_json::to_value(sync::routes().into_openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        routes.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    routes
}

async fn lagging_with_products(calls: &Calls, count: usize) -> (TestBed, Vec<ProductId>) {
    let bed = TestBed::lagging(calls).await;
    let mut ids = Vec::with_capacity(count);
    for nth in 0..count {
        ids.push(bed.create(&format!("SKU-{nth}"), "shoes").await);
    }
    bed.arrive().await;
    (bed, ids)
}

#[tokio::test]
async fn each_reader_has_the_consistency_of_its_row() {
    let calls = Calls::default();
    let (bed, ids) = lagging_with_products(&calls, 2).await;
    // Stale reads show the product as it was before, so that a pass has a candidate to read again.
    bed.change(ids[0], json!({"name": "Other shoe"})).await;
    bed.arrive().await;
    bed.set_stock(ids[1], 7).await;
    bed.make_dead_letters().await;
    let letter = bed.dead_letters().await[0]["id"].clone();
    let run = bed.reconciler.request(OPERATOR, false).await.unwrap();

    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    calls.take_reads();
    for (method, path) in routes() {
        let id = match path.as_str() {
            "/v1/admin/dead-letters/{id}" => letter.to_string(),
            "/v1/admin/reconciliations/{id}" => run.to_string(),
            _ => ids[0].to_string(),
        };
        let mut call = Call::new(method.parse().unwrap(), &path.replace("{id}", &id));
        if method == "POST" {
            let selects = path.contains("dead-letters");
            let body = if selects { json!({"all": true, "dry_run": true}) } else { json!({}) };
            call = call.json(&body);
        }
        let response = bed.ask_as_operator(call).await;
        assert!(response.status.is_success(), "{method} {path}: {}", response.text);
        found.insert(format!("{method} {path}"), calls.take_reads());
    }
    let discard = "update sync.runs set finished_at = requested_at";
    sqlx::query(discard).execute(&bed.database.pool).await.unwrap();
    for (reader, deep) in [("pass", false), ("deep pass", true)] {
        bed.reconcile_products(&ids, deep).await;
        found.insert(reader.to_owned(), calls.take_reads());
    }
    let rows: BTreeMap<String, BTreeSet<String>> = READERS
        .iter()
        .map(|(reader, reads)| {
            ((*reader).to_owned(), reads.iter().map(|read| (*read).to_owned()).collect())
        })
        .collect();
    assert_eq!(found, rows);
}

#[tokio::test]
async fn stale_first_look_is_no_difference() {
    let (bed, ids) = lagging_with_products(&Calls::default(), 8).await;
    bed.change(ids[0], json!({"name": "Other shoe", "category": "hats"})).await;
    bed.change(ids[1], json!({"status": "archived"})).await;
    bed.set_stock(ids[2], 0).await;
    bed.delete(ids[3]).await;
    bed.delete(ids[4]).await;
    bed.restore(ids[4]).await;
    bed.arrive().await;
    for deep in [false, true] {
        let run = bed.reconcile_products(&ids, deep).await;
        let found = (run.findings.differences(), run.findings.moving, run.findings.repaired);
        assert_eq!((run.findings.compared, found), (8, (0, 0, 0)), "{run:?}");
    }
}

#[tokio::test]
async fn drift_is_repaired_when_reads_are_stale() {
    let (bed, ids) = lagging_with_products(&Calls::default(), 6).await;
    let first = bed.listing(ids[1]).await.unwrap();
    bed.change(ids[0], json!({"name": "Other shoe"})).await;
    bed.change(ids[1], json!({"name": "Third shoe"})).await;
    bed.delete(ids[2]).await;
    bed.arrive().await;
    // It is as it was at first, in the table as well as in the replica.
    bed.put(first).await;
    let run = bed.reconcile_products(&ids, false).await;
    let found = (run.findings.stale, run.findings.differences(), run.findings.repaired);
    assert_eq!(found, (1, 1, 1), "{run:?}");
    bed.arrive().await;
    bed.check_listing(ids[1]).await;
    assert_eq!(bed.reconcile_products(&ids, true).await.findings.differences(), 0);
}

#[tokio::test]
async fn trace_shows_the_last_change_when_reads_are_stale() {
    let (bed, ids) = lagging_with_products(&Calls::default(), 1).await;
    for name in ["Other shoe", "Third shoe"] {
        bed.change(ids[0], json!({"name": name})).await;
        bed.arrive().await;
    }
    let call = Call::get(&format!("/v1/admin/trace/{}", ids[0]));
    let trace = bed.ask_as_operator(call).await.expect(200).json;
    let states: Vec<&Value> =
        trace["changes"].as_array().unwrap().iter().map(|change| &change["state"]).collect();
    assert_eq!(states, ["in the listing"; 3]);
    bed.ask_as_operator(Call::get(RECONCILIATIONS)).await.expect(200);
}
