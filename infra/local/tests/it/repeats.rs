//! Concurrent creates with the same idempotency key, over HTTP: one product, one journal entry, one
//! event and one response. A different body with the same key is refused, even at the same moment.

use std::collections::HashSet;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::id::ProductId;
use testkit::{RandomRuns, eventually};

use crate::openapi::{ApiResponse, send};
use crate::process::Process;

/// Defaults, unless the environment asks for more.
const REQUESTS: u64 = 1_000;
const SEED: u64 = 11;

/// Keys that are in use at the same time.
const AT_ONCE: usize = 32;

/// Without a relay, events stay in the outbox and can be counted. Without a rate limit, one seller can
/// send all requests.
const SETTINGS: [(&str, &str); 2] =
    [("VITRINA_ROLES", "inventory,identity"), ("VITRINA_RATE_LIMIT", "0")];

/// The copies that are sent with one key.
pub(crate) struct Request {
    key: String,
    /// Each copy has one of two bodies. In most requests all copies have the first.
    bodies: [Value; 2],
    copies: Vec<usize>,
    /// Whether both bodies are sent again after all copies have a response.
    again: bool,
}

/// The outcome of one key.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) id: ProductId,
    copies: usize,
    /// Copies with the losing body.
    refused: usize,
    /// Whether both bodies were in flight at the same time.
    is_race: bool,
}

/// The response to one copy, and when the copy was in flight.
#[derive(Debug)]
struct Answered {
    body: usize,
    invoked: Instant,
    responded: Instant,
    response: ApiResponse,
}

impl Answered {
    fn overlaps(&self, other: &Self) -> bool {
        self.invoked < other.responded && other.invoked < self.responded
    }
}

impl Request {
    pub(crate) fn new(nth: u64, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(nth));
        let body = |sku: &str, amount: u32| {
            json!({
                "sku": sku, "name": "Running shoe", "category": "shoes",
                "attributes": {"size": 42}, "price": {"amount": amount, "currency": "BRL"},
                "stock": {"on_hand": 5},
            })
        };
        let sku = format!("SKU-{nth}");
        // The second body has another sku, or the same sku at another price.
        let other = if rng.random_bool(0.5) { format!("OTHER-{nth}") } else { sku.clone() };
        let races = rng.random_bool(0.25);
        let copies = rng.random_range(1..=5);
        let choose = |_| if races { rng.random_range(0..2) } else { 0 };
        let copies = (0..copies).map(choose).collect();
        let bodies = [body(&sku, 12_990), body(&other, 9_990)];
        Self { key: format!("key-{nth}"), bodies, copies, again: rng.random_bool(0.2) }
    }
}

pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    /// URL of the collection of products.
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Client {
    /// Creates a product. On a busy machine, the limits of the edition may refuse a copy, which then had no
    /// effect and is sent again.
    async fn create(&self, key: &str, body: &Value) -> ApiResponse {
        eventually(&format!("a response for {key}"), async || {
            let request = self.http.post(&self.url).bearer_auth(&self.token);
            let response = send(request.header("idempotency-key", key).json(body)).await;
            (response.status != 503).then_some(response)
        })
        .await
    }

    async fn create_copy(&self, key: &str, body: usize, content: &Value) -> Answered {
        // Real time: it tells which copies were in flight at the same time.
        let invoked = Instant::now();
        let response = self.create(key, content).await;
        let responded = Instant::now();
        Answered { body, invoked, responded, response }
    }

    /// Sends all copies concurrently, and repeats some afterwards.
    pub(crate) async fn send(&self, request: Request) -> Outcome {
        let Request { key, bodies, copies, again } = request;
        let sent = copies.iter().map(|body| self.create_copy(&key, *body, &bodies[*body]));
        let answered: Vec<Answered> = join_all(sent).await;
        let first = answered.iter().find(|copy| copy.response.status == 201);
        let first =
            first.unwrap_or_else(|| panic!("{key}: no copy created a product: {answered:#?}"));
        let (winner, first) = (first.body, &first.response);
        let mut fresh = 0;
        for Answered { body, response, .. } in &answered {
            if *body == winner {
                check_same(&key, response, first);
                fresh += usize::from(!is_replayed(response));
            } else {
                check_refused(&key, response);
            }
        }
        assert_eq!(fresh, 1, "{key}: not exactly one response is original: {answered:#?}");
        for (body, content) in bodies.iter().enumerate().filter(|_| again) {
            let again = self.create(&key, content).await;
            if body == winner {
                check_same(&key, &again, first);
                assert!(is_replayed(&again), "{key}: {again:#?}");
            } else {
                check_refused(&key, &again);
            }
        }
        let (won, lost): (Vec<_>, Vec<_>) = answered.iter().partition(|copy| copy.body == winner);
        let is_race = won.iter().any(|one| lost.iter().any(|other| one.overlaps(other)));
        let refused = lost.len();
        let id = first.json["id"].as_str().unwrap().parse().unwrap();
        Outcome { id, copies: copies.len(), refused, is_race }
    }
}

fn is_replayed(response: &ApiResponse) -> bool {
    response.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
}

fn check_same(key: &str, response: &ApiResponse, first: &ApiResponse) {
    assert_eq!(response.status, 201, "{key}: {}", response.text);
    assert_eq!(response.text, first.text, "{key}");
    for name in ["etag", "location", "content-type"] {
        assert_eq!(response.headers.get(name), first.headers.get(name), "{key}: {name}");
    }
}

fn check_refused(key: &str, response: &ApiResponse) {
    assert_eq!(response.status, 422, "{key}: {}", response.text);
    assert_eq!(response.json["code"], json!("idempotency_key_reused"), "{key}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_with_one_key_create_one_product() {
    let RandomRuns { count, seed } = RandomRuns::from_env(REQUESTS, SEED);
    eprintln!("{count} requests from seed {seed}");
    let data = tempfile::tempdir().unwrap();
    let process = Process::start_with(data.path(), &SETTINGS).await;
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    let client = Client { http, url: format!("{}/v1/products", process.url), token };

    let sent = (0..count).map(|nth| client.send(Request::new(nth, seed)));
    let outcomes: Vec<Outcome> =
        futures::stream::iter(sent).buffer_unordered(AT_ONCE).collect().await;

    let mut database = process.database().await;
    let rows: Vec<(ProductId, i64, i64)> = sqlx::query_as(
        "with entries as (
             select aggregate_id as id, count(*) as count from inventory.journal group by 1),
             events as (
             select aggregate_id as id, count(*) as count from inventory.outbox group by 1)
         select id, coalesce(entries.count, 0), coalesce(events.count, 0)
         from inventory.products left join entries using (id) left join events using (id)",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    let returned: HashSet<ProductId> = outcomes.iter().map(|outcome| outcome.id).collect();
    assert_eq!(rows.len(), outcomes.len(), "seed {seed}: not one product for each key");
    assert_eq!(returned.len(), outcomes.len(), "seed {seed}: two keys got the same product");
    for (id, entries, events) in rows {
        assert!(returned.contains(&id), "seed {seed}: no response has {id}");
        assert_eq!((entries, events), (1, 1), "seed {seed}: entries and events of {id}");
    }
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (copies, refused) = (sum(|it| it.copies), sum(|it| it.refused));
    let races = sum(|it| usize::from(it.is_race));
    eprintln!(
        "seed {seed}: {count} requests in {copies} copies: {count} products, entries and events; \
         {races} races of two bodies, {refused} copies refused"
    );
    assert!(races >= outcomes.len() / 20, "only {races} races: too little was tested");
    process.terminate().await;
}
