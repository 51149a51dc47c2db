//! A reconciliation whose process is killed again and again: it goes on where it was, and compares
//! every product once.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use testkit::Scale;

use crate::described::send;
use crate::process::Process;
use crate::reconciliation::{Listings, counts, json_of, quiet};

/// Unless more are asked for.
const KILLS: u64 = 3;
const SEED: u64 = 31;

const PRODUCTS: i64 = 1_000;
const BUCKETS: i64 = 1_024;

/// How many listings are missing.
const MISSING: i64 = 25;

const PATIENCE: Duration = Duration::from_mins(5);

/// Lets the minute pass for which the dead hold what they had leased.
async fn let_leases_end(process: &Process) {
    let past = "update sync.buckets set lease_until = now() - interval '1 second'
                where lease_until is not null";
    sqlx::query(past).execute(&mut process.database().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciliation_goes_on_where_it_was_however_often_its_process_is_killed() {
    let Scale { count, seed } = Scale::asked(KILLS, SEED);
    eprintln!("{count} kills from seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().unwrap();
    let mut process = Process::start(data.path()).await;
    let http = reqwest::Client::new();
    let seller = process.token(&http, "seller").await;
    for batch in 0..PRODUCTS / 100 {
        let item = |nth| {
            json!({
                "sku": format!("SKU-{batch}-{nth}"), "name": "Running shoe", "category": "shoes",
                "price": {"amount": 12_990, "currency": "BRL"}, "stock": {"on_hand": 5},
            })
        };
        let items: Vec<Value> = (0..100).map(item).collect();
        let request = http.post(format!("{}/v1/products/batch", process.url)).bearer_auth(&seller);
        assert_eq!(send(request.json(&json!({ "items": items }))).await.status, 200);
    }
    quiet(data.path()).await;
    let listings = Listings::of(data.path());
    for listing in listings.all().await.iter().take(usize::try_from(MISSING).unwrap()) {
        listings.delete(listing).await;
    }

    let operator = process.token(&http, "operator").await;
    let asked = http.post(format!("{}/v1/admin/reconciliations", process.url));
    let asked = send(asked.bearer_auth(&operator).json(&json!({"deep": true}))).await.json;
    let path = format!("/v1/admin/reconciliations/{}", asked["id"].as_str().unwrap());
    let mut moments: Vec<i64> = (0..count).map(|_| rng.random_range(1..BUCKETS)).collect();
    moments.sort_unstable();
    let mut moments = moments.into_iter().peekable();
    let (begun, mut killed_at) = (Instant::now(), Vec::new());
    let report = loop {
        let report = http.get(format!("{}{path}", process.url)).bearer_auth(&operator);
        let report = send(report).await.json;
        let done = report["progress"]["buckets_done"].as_i64().unwrap();
        if !report["finished_at"].is_null() {
            break report;
        }
        if moments.next_if(|moment| *moment <= done).is_some() {
            process.kill().await;
            killed_at.push(done);
            process = Process::start(data.path()).await;
            let_leases_end(&process).await;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not come to its end: {report}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(!killed_at.is_empty(), "it was over before the first kill: what was tested?");
    assert_eq!(report["compared"], json!(PRODUCTS), "each product once: {report}");
    assert_eq!(counts(&report), [MISSING, 0, 0, 0, 0, 0], "seed {seed}: {report}");
    assert_eq!(report["repaired"], json!(MISSING), "seed {seed}: {report}");
    quiet(data.path()).await;
    let again = json_of(data.path(), &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&again), [0; 6], "seed {seed}: {again}");
    eprintln!(
        "seed {seed}: killed after {killed_at:?} of {BUCKETS} buckets; {PRODUCTS} products were \
         compared once, all of {MISSING} differences found and mended"
    );
    process.terminate().await;
}
