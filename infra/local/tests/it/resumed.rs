//! A reconciliation that is killed repeatedly: it resumes at its last bucket and compares every product
//! once.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::PgConnection;
use testkit::{RandomRuns, within};

use crate::openapi::send;
use crate::process::Process;
use crate::reconciliation::{Listings, counts, json_of, wait_until_drained};

/// Defaults, unless the environment asks for more.
const KILLS: u64 = 3;
const SEED: u64 = 31;

const PRODUCTS: i64 = 1_000;
const BUCKETS: i64 = 1_024;

/// Number of listings that are deleted before the run.
const MISSING: i64 = 25;

/// How many buckets after the moment of a kill the run may do until it has to wait for the kill.
const MARGIN: i64 = 50;

/// Leases the last buckets, so that the run cannot end before the kill that is due once `moment` buckets
/// are done. Ends all other leases, those of a killed process too, at once instead of after a minute.
async fn hold_after(moment: Option<&i64>, database: &mut PgConnection) {
    let first = moment.map_or(BUCKETS, |moment| (moment + MARGIN).min(BUCKETS - 1));
    sqlx::query(
        "update sync.buckets
         set lease_until = now()
             + case when bucket >= $1 then interval '1 hour' else interval '-1 second' end
         where lease_until is not null or bucket >= $1",
    )
    .bind(first)
    .execute(database)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_reconciliation_resumes_at_its_last_bucket() {
    let RandomRuns { count, seed } = RandomRuns::from_env(KILLS, SEED);
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
    wait_until_drained(data.path()).await;
    let listings = Listings::of(data.path());
    for listing in listings.all().await.iter().take(usize::try_from(MISSING).unwrap()) {
        listings.delete(listing).await;
    }

    let mut moments: Vec<i64> = (0..count).map(|_| rng.random_range(1..BUCKETS)).collect();
    moments.sort_unstable();
    let mut moments = moments.into_iter().peekable();
    hold_after(moments.peek(), &mut process.database().await).await;
    let operator = process.token(&http, "operator").await;
    let started = http.post(format!("{}/v1/admin/reconciliations", process.url));
    let started = send(started.bearer_auth(&operator).json(&json!({"deep": true}))).await.json;
    let path = format!("/v1/admin/reconciliations/{}", started["id"].as_str().unwrap());
    let mut killed_at = Vec::new();
    let run = async {
        loop {
            let report = http.get(format!("{}{path}", process.url)).bearer_auth(&operator);
            let report = send(report).await.json;
            let done = report["progress"]["buckets_done"].as_i64().unwrap();
            if !report["finished_at"].is_null() {
                break (report, process);
            }
            if moments.next_if(|moment| *moment <= done).is_some() {
                let mut database = process.database().await;
                process.kill().await;
                killed_at.push(done);
                hold_after(moments.peek(), &mut database).await;
                process = Process::start(data.path()).await;
            }
        }
    };
    let (report, process) = within("the end of the run", run).await;
    assert_eq!(killed_at.len(), usize::try_from(count).unwrap(), "killed after {killed_at:?}");
    assert_eq!(report["compared"], json!(PRODUCTS), "each product must be compared once: {report}");
    assert_eq!(counts(&report), [MISSING, 0, 0, 0, 0, 0], "seed {seed}: {report}");
    assert_eq!(report["repaired"], json!(MISSING), "seed {seed}: {report}");
    wait_until_drained(data.path()).await;
    let again = json_of(data.path(), &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&again), [0; 6], "seed {seed}: {again}");
    eprintln!(
        "seed {seed}: killed after {killed_at:?} of {BUCKETS} buckets; {PRODUCTS} products were \
         compared once, all of {MISSING} differences found and repaired"
    );
    process.terminate().await;
}
