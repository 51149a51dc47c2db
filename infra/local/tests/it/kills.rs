//! SIGKILL at random moments under load: every acknowledged write is in the listing afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::described::{Answer, send, try_send};
use crate::process::Process;

const KILLS: u32 = 10;
const SEED: u64 = 7;
const WRITERS: u32 = 4;

/// How long what was acknowledged may take to be shown after a restart.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was answered with a success, by product.
type Acknowledged = Arc<Mutex<HashMap<String, Known>>>;

/// What the seller of a product knows of it.
#[derive(Clone, Debug, Default)]
struct Known {
    name: String,
    version: i64,
    deleted: bool,
    on_hand: i64,
    /// Where the answer to a change did not arrive, it may have been made all the same.
    asked: Option<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Rename,
    Delete,
    Sell,
}

impl Known {
    /// What is in stock when it is created.
    const ON_HAND: i64 = 5;

    fn of(product: &Value) -> Self {
        let name = product["name"].as_str().unwrap().to_owned();
        Self { name, version: 1, on_hand: Self::ON_HAND, ..Self::default() }
    }

    /// As it is after a change.
    fn after(&self, change: Change) -> Self {
        let mut after = Self { asked: None, ..self.clone() };
        match change {
            Change::Rename => after.name.push_str(", renamed"),
            Change::Delete => after.deleted = true,
            Change::Sell => after.on_hand -= 1,
        }
        if change != Change::Sell {
            after.version += 1;
        }
        after
    }

    /// What a buyer may see of it: as it was acknowledged, or as it was asked for after that.
    fn may_be(&self) -> Vec<Self> {
        let asked = self.asked.map(|change| self.after(change));
        std::iter::once(Self { asked: None, ..self.clone() }).chain(asked).collect()
    }

    /// Whether this is what a buyer is answered about it.
    fn is_shown_by(&self, answer: &Answer) -> bool {
        let listing = &answer.json;
        match answer.status {
            404 => self.deleted,
            200 => {
                !self.deleted
                    && listing["name"] == json!(self.name)
                    && listing["version"] == json!(self.version)
                    && listing["available"] == json!(self.on_hand)
            }
            _ => false,
        }
    }
}

fn body(sku: &str, amount: u32) -> Value {
    json!({
        "sku": sku, "name": format!("Product {sku}"), "category": "things",
        "price": {"amount": amount, "currency": "BRL"}, "stock": {"on_hand": Known::ON_HAND},
    })
}

/// A seller who writes until nobody answers any more.
struct Writer {
    http: reqwest::Client,
    url: String,
    token: String,
    acknowledged: Acknowledged,
}

impl Writer {
    fn to(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/products{path}", self.url));
        request.bearer_auth(&self.token)
    }

    /// Creates products, one by one and in batches, changes them, and deletes some.
    async fn write(self, name: String) {
        for n in 0.. {
            if self.write_once(&format!("{name}-{n}"), n).await.is_none() {
                return;
            }
        }
    }

    async fn write_once(&self, sku: &str, n: u32) -> Option<()> {
        let created = answer(self.to(Method::POST, "").json(&body(sku, n)), 201).await?;
        let one = self.acknowledge(&created);
        let items: Vec<Value> = (0..3).map(|nth| body(&format!("{sku}-{nth}"), n)).collect();
        let batch = self.to(Method::POST, "/batch").json(&json!({ "items": items }));
        let created = answer(batch, 200).await?;
        let results = created["results"].as_array().unwrap().iter();
        let mut batch = results.map(|result| {
            assert_eq!(result["status"], json!(201), "{result}");
            self.acknowledge(&result["product"])
        });
        // The first of a batch stays as it is.
        let (_, second, third) = (batch.next()?, batch.next()?, batch.next()?);
        if n.is_multiple_of(2) {
            self.change(&one, Change::Rename).await?;
        }
        self.change(&second, Change::Sell).await?;
        self.change(&second, Change::Sell).await?;
        self.change(&third, Change::Delete).await
    }

    fn acknowledge(&self, product: &Value) -> String {
        let id = product["id"].as_str().unwrap().to_owned();
        self.acknowledged.lock().unwrap().insert(id.clone(), Known::of(product));
        id
    }

    async fn change(&self, id: &str, change: Change) -> Option<()> {
        let known = {
            let mut acknowledged = self.acknowledged.lock().unwrap();
            let known = acknowledged.get_mut(id).unwrap();
            known.asked = Some(change);
            known.clone()
        };
        let after = known.after(change);
        let (request, status) = match change {
            Change::Rename => {
                let name = json!({"name": after.name});
                (self.to(Method::PATCH, &format!("/{id}")).json(&name), 200)
            }
            Change::Delete => (self.to(Method::DELETE, &format!("/{id}")), 204),
            Change::Sell => {
                let sold = json!({"delta": -1, "reason": "sold"});
                (self.to(Method::POST, &format!("/{id}/stock/adjustments")).json(&sold), 200)
            }
        };
        answer(request.header("if-match", "*"), status).await?;
        self.acknowledged.lock().unwrap().insert(id.to_owned(), after);
        Some(())
    }
}

/// The body of a whole answer with this status; `None` if there was no answer any more.
async fn answer(request: reqwest::RequestBuilder, status: u16) -> Option<Value> {
    let answer = try_send(request).await.ok()?;
    assert_eq!(answer.status, status, "{}", answer.text);
    Some(answer.json)
}

/// A buyer sees a product as it was acknowledged.
async fn check(http: &reqwest::Client, process: &Process, id: &str, known: &Known) {
    let url = format!("{}/v1/catalog/products/{id}", process.url);
    let begun = Instant::now();
    // A backlog may take a few seconds after the start.
    loop {
        let shown = send(http.get(&url)).await;
        if known.may_be().iter().any(|state| state.is_shown_by(&shown)) {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{id} is lost (seed {SEED}): {known:?} is shown as {}",
            shown.text
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
            let writer_of = Writer {
                http: reqwest::Client::new(),
                url: process.url.clone(),
                token: token.clone(),
                acknowledged: Arc::clone(&acknowledged),
            };
            writers.push(tokio::spawn(writer_of.write(format!("{round}-{writer}"))));
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
    let of = |fits: fn(&Known) -> bool| acknowledged.values().filter(|known| fits(known)).count();
    let kinds = [
        of(|known| known.version == 1 && known.on_hand == Known::ON_HAND),
        of(|known| known.version == 2 && !known.deleted),
        of(|known| known.deleted),
        of(|known| known.on_hand < Known::ON_HAND),
    ];
    assert!(kinds.iter().all(|count| *count > 10), "only {kinds:?} writes: what was tested?");
    for (id, known) in &acknowledged {
        check(&http, &process, id, known).await;
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
