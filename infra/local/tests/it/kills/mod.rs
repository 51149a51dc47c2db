//! Sends SIGKILL at random moments under load to the process, to its PostgreSQL, and to both while they
//! start and recover. Afterwards every acknowledged write must be listed, and the recorded responses must
//! be linearizable.

pub(crate) mod concurrent_clients;
mod histories;
pub(crate) mod supervised;
pub(crate) mod writers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use testkit::{RandomRuns, eventually};

use crate::openapi::{ApiResponse, send, try_send};
use crate::process::{Process, postmaster};
use crate::reconciliation::{counts, json_of};
use concurrent_clients::{ConcurrentClient, SharedProducts};
use supervised::{Kill, Supervised};
use writers::{WriteLog, Writer};

/// Defaults, unless the environment asks for more.
const KILLS: u64 = 10;
const SEED: u64 = 7;

/// Number of sellers that write to their own products, and of clients that share a few products.
pub(crate) const WRITERS: u32 = 2;
pub(crate) const CONCURRENT_CLIENTS: u32 = 6;

/// Least number of acknowledged writes between a recovery and the next kill.
const WRITES_BEFORE_A_KILL: u32 = 10;

/// How long a client waits after a lost response.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Longer than any request may take. A request without a response by then hangs, which fails the test.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn client() -> reqwest::Client {
    // Real time: it only ends a hang.
    reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build().unwrap()
}

/// Why it is open whether a request took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// The connection closed before the response.
    Lost,
    /// The response is a 503.
    Unavailable,
}

/// A complete response that says what the request did.
async fn complete_response(request: reqwest::RequestBuilder) -> Result<ApiResponse, Unknown> {
    match try_send(request).await {
        Ok(response) if response.status == 503 => Err(Unknown::Unavailable),
        Ok(response) => {
            assert!(response.status < 500, "{response:#?}");
            Ok(response)
        }
        Err(error) => {
            assert!(!error.is_timeout(), "a request hangs: {error}");
            Err(Unknown::Lost)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_listed_after_any_kills() {
    let RandomRuns { count, seed } = RandomRuns::from_env(KILLS, SEED);
    eprintln!("{count} rounds of kills from seed {seed}");
    let data = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut edition = Supervised::start(data.path()).await;
    let log = Arc::new(Mutex::new(WriteLog::default()));
    let products = Arc::new(SharedProducts::default());
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        let writer = Writer {
            name: format!("w{writer}"),
            http: client(),
            address: edition.watch_address(),
            log: Arc::clone(&log),
        };
        clients.push(tokio::spawn(writer.run()));
    }
    for number in 1..=CONCURRENT_CLIENTS {
        let client = ConcurrentClient::new(number, seed, edition.watch_address(), &products);
        clients.push(tokio::spawn(client.run()));
    }
    let acknowledged = || log.lock().unwrap().acknowledged;
    let mut remaining = Vec::new();
    for _ in 0..count {
        // Every kill must hit clients at work, however slow the machine is.
        let enough = acknowledged() + WRITES_BEFORE_A_KILL;
        eventually("writes before a kill", async || (acknowledged() >= enough).then_some(())).await;
        // Real time: the test is about when a kill hits, so it waits for a random time.
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_000))).await;
        edition.kill_and_recover(Kill::choose(&mut remaining, &mut rng), &mut rng).await;
    }
    eventually("enough of every kind of work", async || {
        let written = log.lock().unwrap().count_by_kind().iter().all(|count| *count > 10);
        let histories = products.histories.lock().unwrap();
        (written && histories.confirmed() > 10 && histories.overlaps() > 50).then_some(())
    })
    .await;
    edition.stop_clients();
    for client in clients {
        client.await.unwrap_or_else(|_| panic!("a client failed with seed {seed}"));
    }
    let log = Arc::into_inner(log).unwrap().into_inner().unwrap();
    log.check(&client(), &edition.process().url).await;
    let mut histories = std::mem::take(&mut *products.histories.lock().unwrap());
    histories.read_until_consistent(&client(), &edition.address(), &products).await;
    let explained = histories.explain(seed);
    assert!(explained.overlaps > 50, "{explained:?}: too little was tested");
    assert!(explained.lost > 0 && explained.confirmed > 10, "{explained:?}: too little was tested");
    let differences = json_of(data.path(), &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&differences), [0; 6], "seed {seed}: {differences}");
    let Supervised { kills, signals, failed_starts, .. } = &edition;
    eprintln!(
        "seed {seed}: {signals} processes killed in {count} rounds {kills:?}, {failed_starts} starts \
         failed; {} writes acknowledged, {} responses lost and {} unavailable, all acknowledged writes are listed; {explained:?}",
        log.acknowledged, log.lost, log.unavailable
    );
    edition.terminate().await;
    assert_eq!(postmaster(data.path()), None, "PostgreSQL still runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edition_returns_503_and_recovers_when_postgres_is_killed() {
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
    // A statement may have been committed just before its response was lost: then the retry gets 409.
    let attempt = async |sku: &str| {
        let response = create(sku).await;
        match response.status {
            201 | 409 => return true,
            503 => assert!(response.headers.contains_key("retry-after")),
            other => panic!("{other}: {}", response.text),
        }
        false
    };
    let postmaster = || postmaster(data.path());
    for round in 0..2 {
        let create = async || attempt(&format!("BEFORE-{round}")).await.then_some(());
        eventually("a create before the kill", create).await;
        let before = postmaster().unwrap();
        let kill = ["-KILL", &before.to_string()];
        let killed = std::process::Command::new("kill").args(kill).status().unwrap();
        assert!(killed.success());
        // Child processes of the killed server live on for a moment and may still respond, so wait for
        // the next server.
        eventually("the recovery", async || {
            let is_restarted = postmaster().is_some_and(|now| now != before);
            (attempt(&format!("AFTER-{round}")).await && is_restarted).then_some(())
        })
        .await;
    }
    let listed = format!("{}/v1/products?limit=100", process.url);
    let listed = send(http.get(listed).bearer_auth(&token)).await.json;
    assert_eq!(listed["data"].as_array().unwrap().len(), 4);
    process.terminate().await;
}
