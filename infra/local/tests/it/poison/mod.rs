//! Unreadable messages among thousands of valid ones. Each becomes a dead letter with its reason, and
//! none delays the others or is lost. Once the cause is fixed, all of them are redriven and projected.

mod mangle;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use reqwest::Method;
use serde_json::{Value, json};
use shared::id::EventId;
use sqlx::PgConnection;
use testkit::{RandomRuns, eventually};

use crate::openapi::{ApiResponse, send};
use crate::process::Process;
use crate::reconciliation::{counts, json_of};

/// Defaults, unless the environment asks for more.
const MESSAGES: u64 = 1_000;
const SEED: u64 = 17;

/// One message in so many is poisoned, but at least one of each kind.
const ONE_IN: usize = 100;

/// Longest reason of a dead letter in bytes: an operator reads it.
const LONGEST_REASON: usize = 1_000;

const NO_LIMIT: (&str, &str) = ("VITRINA_RATE_LIMIT", "0");

/// A message that was damaged.
struct Poison {
    kind: &'static str,
    original: String,
    mangled: String,
}

struct TestEdition {
    http: reqwest::Client,
    process: Process,
    seller: String,
    operator: String,
    database: PgConnection,
}

impl TestEdition {
    async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let process = Process::start_with(data, settings).await;
        let http = reqwest::Client::new();
        let seller = process.token(&http, "seller").await;
        let operator = process.token(&http, "operator").await;
        let database = process.database().await;
        Self { http, process, seller, operator, database }
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: &Value) -> ApiResponse {
        let request = self.http.request(method, format!("{}/v1{path}", self.process.url));
        let request = request.bearer_auth(token).header("if-match", "*").json(body);
        let response = send(request).await;
        assert!(response.status < 300, "{path}: {}", response.text);
        response
    }

    /// Writes products so that `count` events are announced, of every type.
    async fn write(&self, count: usize) {
        let seller = &self.seller;
        let mut products = Vec::new();
        let mut left = count;
        while left > 0 {
            let creates = left.min(100);
            let items: Vec<Value> = (0..creates)
                .map(|nth| {
                    json!({
                        "sku": format!("SKU-{left}-{nth}"), "name": "Running shoe",
                        "category": "shoes", "price": {"amount": 12_990, "currency": "BRL"},
                        "stock": {"on_hand": 5},
                    })
                })
                .collect();
            let body = json!({ "items": items });
            let created = self.ask(seller, Method::POST, "/products/batch", &body).await.json;
            left -= creates;
            for result in created["results"].as_array().unwrap() {
                products.push(result["product"]["id"].as_str().unwrap().to_owned());
            }
            // Of each hundred, sixty are changed in one of three ways.
            let changed = products.split_off(products.len() - (creates * 6 / 10).min(left));
            left -= changed.len();
            for (nth, id) in changed.iter().enumerate() {
                let id = format!("/products/{id}");
                let (method, path, body) = match nth % 3 {
                    0 => (Method::PATCH, id, json!({"name": "Slow shoe"})),
                    1 => (Method::PUT, format!("{id}/stock"), json!({"on_hand": 7})),
                    _ => (Method::DELETE, id, Value::Null),
                };
                self.ask(seller, method, &path, &body).await;
            }
        }
    }

    async fn count(&mut self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&mut self.database).await.unwrap()
    }

    /// Waits until a statement counts `wanted`.
    async fn wait_for_count(&mut self, statement: &'static str, wanted: i64) {
        eventually(&format!("{statement} to be {wanted}"), async || {
            (self.count(statement).await == wanted).then_some(())
        })
        .await;
    }

    /// Makes some queued messages unreadable, each kind in turn.
    async fn poison(&mut self, rng: &mut StdRng) -> BTreeMap<EventId, Poison> {
        let queued = "select id, event_id, body from bus.messages order by id";
        let mut messages: Vec<(i64, EventId, String)> =
            sqlx::query_as(queued).fetch_all(&mut self.database).await.unwrap();
        let count = (messages.len() / ONE_IN).max(mangle::KINDS.len());
        messages.shuffle(rng);
        let mut planted = BTreeMap::new();
        for (nth, (id, event_id, original)) in messages.into_iter().take(count).enumerate() {
            let (kind, mangle) = mangle::KINDS[nth % mangle::KINDS.len()];
            let mangled = mangle(&original);
            assert_ne!(mangled, original, "{kind}");
            sqlx::query("update bus.messages set body = $2 where id = $1")
                .bind(id)
                .bind(&mangled)
                .execute(&mut self.database)
                .await
                .unwrap();
            planted.insert(event_id, Poison { kind, original, mangled });
        }
        planted
    }

    /// All dead letters, as an operator reads them.
    async fn dead_letters(&self) -> Vec<Value> {
        let mut dead_letters = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/admin/dead-letters?limit=100{cursor}");
            let page = self.ask(&self.operator, Method::GET, &path, &Value::Null).await.json;
            dead_letters.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["page"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return dead_letters,
            }
        }
    }

    /// Waits until the queue is empty, and checks that exactly the planted messages are dead letters.
    async fn check(&mut self, planted: &BTreeMap<EventId, Poison>) {
        self.wait_for_count("select count(*) from bus.messages", 0).await;
        let dead_letters = self.dead_letters().await;
        assert_eq!(dead_letters.len(), planted.len(), "{dead_letters:#?}");
        let mut seen = HashSet::new();
        for dead_letter in dead_letters {
            let event_id: EventId = dead_letter["event_id"].as_str().unwrap().parse().unwrap();
            let Poison { kind, mangled, .. } = &planted[&event_id];
            assert!(seen.insert(event_id), "{kind} is a dead letter twice");
            assert_eq!(
                dead_letter["attempts"],
                json!(1),
                "{kind}: a permanent failure is not retried: {dead_letter}"
            );
            let reason = dead_letter["reason"].as_str().unwrap();
            assert!(reason.starts_with("unreadable: reading an event: "), "{kind}: {reason}");
            assert!(reason.len() <= LONGEST_REASON, "{kind}: {} bytes", reason.len());
            let path = format!("/admin/dead-letters/{}", dead_letter["id"]);
            let whole = self.ask(&self.operator, Method::GET, &path, &Value::Null).await.json;
            assert_eq!(whole["body"], json!(mangled), "{kind} is kept unchanged");
        }
    }

    async fn redrive(&self, selection: &Value) -> Value {
        let path = "/admin/dead-letters/redrive";
        self.ask(&self.operator, Method::POST, path, selection).await.json["settled"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_become_dead_letters_and_redrive_works() {
    let RandomRuns { count, seed } = RandomRuns::from_env(MESSAGES, SEED);
    eprintln!("{count} messages, poison from seed {seed}");
    let data = tempfile::tempdir().unwrap();
    // Without a projector the messages stay in the queue.
    let before = [NO_LIMIT, ("VITRINA_ROLES", "inventory,relay,identity")];
    let mut edition = TestEdition::start(data.path(), &before).await;
    edition.write(usize::try_from(count).unwrap()).await;
    edition.wait_for_count("select count(*) from inventory.outbox", 0).await;
    let messages = edition.count("select count(*) from bus.messages").await;
    assert_eq!(messages, i64::try_from(count).unwrap());
    let planted = edition.poison(&mut StdRng::seed_from_u64(seed)).await;
    edition.process.terminate().await;

    let mut edition = TestEdition::start(data.path(), &[NO_LIMIT]).await;
    edition.check(&planted).await;

    // As long as they are unreadable, a redriven message becomes a dead letter again.
    let all = i64::try_from(planted.len()).unwrap();
    assert_eq!(edition.redrive(&json!({"all": true})).await, json!(all));
    edition.check(&planted).await;

    // The operator restores the original bodies.
    for (event_id, poison) in &planted {
        sqlx::query("update bus.dead_letters set body = $2 where event_id = $1")
            .bind(event_id)
            .bind(&poison.original)
            .execute(&mut edition.database)
            .await
            .unwrap();
    }
    assert_eq!(edition.redrive(&json!({"reason": "unreadable"})).await, json!(all));
    edition.check(&BTreeMap::new()).await;
    let report = json_of(data.path(), &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&report), [0; 6], "seed {seed}: {report}");
    let products = edition.count("select count(*) from inventory.products").await;
    assert_eq!(report["compared"], json!(products));
    eprintln!(
        "seed {seed}: {all} of {messages} messages were poisoned, of {} kinds; all became dead letters, \
         were redriven twice, and {products} listings equal their products",
        mangle::KINDS.len()
    );
    edition.process.terminate().await;
}
