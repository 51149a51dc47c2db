//! SIGKILL at random moments under load: every acknowledged write is in the listing afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::described::{send, try_send};
use crate::process::Process;

const KILLS: u32 = 10;
const SEED: u64 = 7;
const WRITERS: u32 = 4;

/// What was answered with a success: the name and the version of each product.
type Acknowledged = Arc<Mutex<HashMap<String, (String, i64)>>>;

/// Creates and changes products until nobody answers any more.
async fn write(url: String, token: String, writer: u32, round: u32, acknowledged: Acknowledged) {
    let http = reqwest::Client::new();
    let products = format!("{url}/v1/products");
    for n in 0.. {
        let name = format!("Product {round}-{writer}-{n}");
        let body = json!({
            "sku": format!("S-{round}-{writer}-{n}"), "name": name, "category": "things",
            "price": {"amount": n, "currency": "BRL"}, "stock": {"on_hand": 1},
        });
        let request = http.post(&products).bearer_auth(&token).json(&body);
        let Some(product) = answer(request, 201).await else {
            return;
        };
        let id = product["id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().insert(id.clone(), (name.clone(), 1));
        if n % 2 == 0 {
            let name = format!("{name}, renamed");
            let request = http
                .patch(format!("{products}/{id}"))
                .bearer_auth(&token)
                .header("if-match", "\"v1\"")
                .json(&json!({ "name": name }));
            let Some(_) = answer(request, 200).await else {
                return;
            };
            acknowledged.lock().unwrap().insert(id, (name, 2));
        }
    }
}

/// The body of a whole answer with this status; `None` if there was no answer any more.
async fn answer(request: reqwest::RequestBuilder, status: u16) -> Option<Value> {
    let answer = try_send(request).await.ok()?;
    assert_eq!(answer.status, status, "{}", answer.text);
    Some(answer.json)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_in_the_listing_however_often_the_process_is_killed() {
    let data = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(SEED);
    let acknowledged = Acknowledged::default();
    let http = reqwest::Client::new();
    for round in 0..KILLS {
        let process = Process::start(data.path()).await;
        let token = process.token(&http, "seller").await;
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let (url, token) = (process.url.clone(), token.clone());
            let acknowledged = Arc::clone(&acknowledged);
            writers.push(tokio::spawn(write(url, token, writer, round, acknowledged)));
        }
        // A moment is what is under test, so it is waited for.
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..700))).await;
        process.kill().await;
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let process = Process::start(data.path()).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} writes: what was tested?", acknowledged.len());
    for (id, (name, version)) in &acknowledged {
        let url = format!("{}/v1/catalog/products/{id}?min_version={version}", process.url);
        let mut listing = None;
        // A reader waits two seconds by himself; a backlog may take a few of those.
        for _ in 0..10 {
            let response = send(http.get(&url)).await;
            if response.status == 200 {
                listing = Some(response.json);
                break;
            }
        }
        let listing = listing.unwrap_or_else(|| panic!("{id} is lost (seed {SEED})"));
        // A change whose answer did not arrive may have been made all the same.
        if listing["version"] == json!(version) {
            assert_eq!(listing["name"], json!(name), "seed {SEED}");
        } else {
            assert_eq!(listing["version"], json!(version + 1), "seed {SEED}");
        }
    }
    process.terminate().await;
    assert!(!data.path().join("postgres/data/postmaster.pid").exists(), "PostgreSQL still runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_postgresql_is_killed_the_edition_answers_503_and_recovers_by_itself() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path()).await;
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    let create = async |sku: &str| {
        let body = json!({
            "sku": sku, "name": "Thing", "category": "things",
            "price": {"amount": 1, "currency": "BRL"},
        });
        let request = http.post(format!("{}/v1/products", process.url)).bearer_auth(&token);
        send(request.json(&body)).await
    };
    // A statement may have been committed just before its answer was lost: then the sku is taken.
    let attempt = async |sku: &str| {
        let answer = create(sku).await;
        match answer.status {
            201 | 409 => return true,
            503 => assert!(answer.headers.contains_key("retry-after")),
            other => panic!("{other}: {}", answer.text),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        false
    };
    let postmaster = || {
        let file = std::fs::read_to_string(data.path().join("postgres/data/postmaster.pid"));
        file.ok().and_then(|text| text.lines().next().map(ToOwned::to_owned))
    };
    for round in 0..2 {
        assert!(attempt(&format!("BEFORE-{round}")).await);
        let before = postmaster().unwrap();
        let killed = std::process::Command::new("kill").args(["-KILL", &before]).status().unwrap();
        assert!(killed.success());
        let begun = std::time::Instant::now();
        // Its children live on for a moment and may still answer: not they are waited for, but the
        // server that follows.
        loop {
            let is_another = postmaster().is_some_and(|now| now != before);
            if attempt(&format!("AFTER-{round}")).await && is_another {
                break;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "it does not recover");
        }
    }
    let listed = format!("{}/v1/products?limit=100", process.url);
    let listed = send(http.get(listed).bearer_auth(&token)).await.json;
    assert_eq!(listed["data"].as_array().unwrap().len(), 4);
    process.terminate().await;
}
