//! SIGKILL at random moments under load, to the process, to its PostgreSQL, and to both while they
//! start and recover: every acknowledged write is in the listing afterwards, and every answer that was
//! given meanwhile can be explained.

pub(crate) mod chaos;
pub(crate) mod contenders;
mod notes;
pub(crate) mod writers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use testkit::Scale;

use crate::described::{Answer, send, try_send};
use crate::process::{Process, postmaster};
use crate::reconciliation::{counts, json_of};
use chaos::{Kill, Supervised};
use contenders::{Arena, Contender};

use writers::{Ledger, Writer};

/// Unless more is asked for.
const KILLS: u64 = 10;
const SEED: u64 = 7;

/// Sellers who have products of their own, and clients who have the same few products.
pub(crate) const WRITERS: u32 = 2;
pub(crate) const CONTENDERS: u32 = 6;

/// How long a client waits after an answer was lost.
const BREATH: Duration = Duration::from_millis(20);

/// Longer than any request may take: whoever has no answer by then is kept waiting for ever.
const HANGS: Duration = Duration::from_mins(1);

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(HANGS).build().unwrap()
}

/// A whole answer; `None` where it was lost, or where the edition does not know either what has
/// become of the request.
async fn answered(request: reqwest::RequestBuilder) -> Option<Answer> {
    match try_send(request).await {
        Ok(answer) if answer.status == 503 => None,
        Ok(answer) => {
            assert!(answer.status < 500, "{answer:#?}");
            Some(answer)
        }
        Err(error) => {
            assert!(!error.is_timeout(), "a request hangs: {error}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_in_the_listing_whatever_is_killed_however_often() {
    let Scale { count, seed } = Scale::asked(KILLS, SEED);
    eprintln!("{count} rounds of kills from seed {seed}");
    let data = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut edition = Supervised::start(data.path()).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let arena = Arc::new(Arena::default());
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        let writer = Writer {
            name: format!("w{writer}"),
            http: client(),
            place: edition.place(),
            ledger: Arc::clone(&ledger),
        };
        clients.push(tokio::spawn(writer.write()));
    }
    for contender in 1..=CONTENDERS {
        let contender = Contender::new(contender, seed, edition.place(), &arena);
        clients.push(tokio::spawn(contender.contend()));
    }
    let mut left = Vec::new();
    for _ in 0..count {
        // A moment is what is under test, so it is waited for.
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_000))).await;
        edition.suffer(Kill::choose(&mut left, &mut rng), &mut rng).await;
    }
    edition.dismiss();
    for client in clients {
        client.await.unwrap_or_else(|_| panic!("a client has failed with seed {seed}"));
    }
    let ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    ledger.check(&client(), &edition.process().url).await;
    let mut notes = std::mem::take(&mut *arena.notes.lock().unwrap());
    notes.look_again(&client(), &edition.address(), &arena).await;
    let explained = notes.explain(seed);
    assert!(explained.overlaps > 50, "{explained:?}: what was tested?");
    assert!(explained.lost > 0 && explained.confirmed > 10, "{explained:?}: what was tested?");
    let differences = json_of(data.path(), &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&differences), [0; 6], "seed {seed}: {differences}");
    let Supervised { kills, signals, given_up, .. } = &edition;
    eprintln!(
        "seed {seed}: {signals} processes killed in {count} rounds {kills:?}, {given_up} starts given \
         up; {} writes acknowledged, {} answers lost, all acknowledged writes are listed; {explained:?}",
        ledger.acknowledged, ledger.lost
    );
    edition.terminate().await;
    assert_eq!(postmaster(data.path()), None, "PostgreSQL still runs");
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
    let postmaster = || postmaster(data.path());
    for round in 0..2 {
        assert!(attempt(&format!("BEFORE-{round}")).await);
        let before = postmaster().unwrap();
        let kill = ["-KILL", &before.to_string()];
        let killed = std::process::Command::new("kill").args(kill).status().unwrap();
        assert!(killed.success());
        let begun = Instant::now();
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
