//! From a seller's request to a buyer's page, with nothing but HTTP: of an edition on this machine, or
//! of one that is deployed, whose address is in `VITRINA_TEST_URL`, and on which nobody else works at
//! the time. Its tokens are then in `VITRINA_TEST_SELLER`, of a seller who has no products yet, and in
//! `VITRINA_TEST_OPERATOR`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::kills::concurrent_clients::{Arena, Contender};
use crate::kills::supervised::{Address, Place};
use crate::kills::writers::{Ledger, Writer};
use crate::kills::{CONTENDERS, WRITERS, client};
use crate::openapi::send;
use crate::process::Process;
use crate::reconciliation::counts;
use crate::repeats::{Client, Outcome, Request};

const SEED: u64 = 5;

/// Keys that creates are repeated with.
const KEYS: u64 = 100;

/// Keys that are in use at once: each is several requests, and a stage has room for some dozens.
const AT_ONCE: usize = 8;

/// Products that are turned over page by page.
const PAGED: usize = 60;

/// How long anything may take; the schedule of a stage fires once a minute.
const PATIENCE: Duration = Duration::from_mins(5);

/// An edition, wherever it is.
struct Endpoint {
    http: reqwest::Client,
    seller: Address,
    operator: String,
    /// Where it is one of this machine.
    process: Option<(Process, tempfile::TempDir)>,
}

impl Endpoint {
    async fn open() -> Self {
        let http = client();
        if let Some(url) = setting("VITRINA_TEST_URL") {
            let token = |name| setting(name).unwrap_or_else(|| panic!("no {name}"));
            let seller = Address { url, token: token("VITRINA_TEST_SELLER") };
            return Self { http, seller, operator: token("VITRINA_TEST_OPERATOR"), process: None };
        }
        let data = tempfile::tempdir().unwrap();
        let process = Process::start_with(data.path(), &[("VITRINA_RATE_LIMIT", "0")]).await;
        let token = process.token(&http, "seller").await;
        let seller = Address { url: process.url.clone(), token };
        let operator = process.token(&http, "operator").await;
        Self { http, seller, operator, process: Some((process, data)) }
    }

    fn to(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.seller.url))
    }

    fn as_seller(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.to(method, path).bearer_auth(&self.seller.token)
    }

    fn as_operator(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.to(method, path).bearer_auth(&self.operator)
    }

    async fn close(self) {
        if let Some((process, _data)) = self.process {
            process.terminate().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test says what it is about")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Every element of a list, page by page.
async fn walk(first: impl Fn() -> reqwest::RequestBuilder) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let request = match &cursor {
            Some(cursor) => first().query(&[("cursor", cursor)]),
            None => first(),
        };
        let page = send(request).await;
        assert_eq!(page.status, 200, "{page:?}");
        all.extend(page.json["data"].as_array().unwrap().iter().cloned());
        match page.json["page"]["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return all,
        }
    }
}

/// Waits until `look` finds something.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sellers_write_is_what_buyers_see_wherever_the_edition_runs() {
    let endpoint = Endpoint::open().await;
    let looked_at = write_and_look(&endpoint).await;
    eprintln!("{looked_at}");
    repeat(&endpoint).await;
    turn_pages(&endpoint).await;
    compare(&endpoint).await;
    endpoint.close().await;
}

/// Sellers of their own products, and sellers and buyers of the same few, all at once: buyers see
/// what was acknowledged, and every answer can be explained.
/// Says how much there was of it.
async fn write_and_look(endpoint: &Endpoint) -> String {
    let stop = CancellationToken::new();
    let place = || Place::fixed(endpoint.seller.clone(), stop.clone());
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let arena = Arc::new(Arena::default());
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        let (name, ledger) = (format!("w{writer}"), Arc::clone(&ledger));
        let writer = Writer { name, http: client(), place: place(), ledger };
        clients.push(tokio::spawn(writer.write()));
    }
    for contender in 1..=CONTENDERS {
        let contender = Contender::new(contender, SEED, place(), &arena);
        clients.push(tokio::spawn(contender.contend()));
    }
    eventually("enough to look at", async || {
        let written = ledger.lock().unwrap().kinds().iter().all(|count| *count > 20);
        let noted = arena.notes.lock().unwrap().confirmed() > 20;
        (written && noted).then_some(())
    })
    .await;
    stop.cancel();
    for client in clients {
        client.await.unwrap();
    }
    let ledger = Arc::into_inner(ledger).unwrap().into_inner().unwrap();
    ledger.check(&endpoint.http, &endpoint.seller.url).await;
    let mut notes = std::mem::take(&mut *arena.notes.lock().unwrap());
    notes.look_again(&endpoint.http, &endpoint.seller, &arena).await;
    let explained = notes.explain(SEED);
    assert!(explained.overlaps > 20 && explained.confirmed > 20, "{explained:?}");
    assert_eq!(ledger.lost, 0, "answers were lost, and nothing was killed");
    format!("{} writes acknowledged and listed; {explained:?}", ledger.acknowledged)
}

/// Creates that are sent several times at once are done once.
async fn repeat(endpoint: &Endpoint) {
    let http = endpoint.http.clone();
    let (url, token) =
        (format!("{}/v1/products", endpoint.seller.url), endpoint.seller.token.clone());
    let client = Client { http, url, token };
    let sent = (0..KEYS).map(|nth| client.send(Request::new(nth, SEED)));
    let outcomes: Vec<Outcome> =
        futures::stream::iter(sent).buffer_unordered(AT_ONCE).collect().await;
    let answered: HashSet<Uuid> = outcomes.iter().map(|outcome| outcome.id).collect();
    assert_eq!(answered.len(), outcomes.len(), "another product for each key");
    let own = walk(|| endpoint.as_seller(Method::GET, "/v1/products?limit=100")).await;
    let made = own.iter().filter(|product| {
        let sku = product["sku"].as_str().unwrap();
        sku.starts_with("SKU-") || sku.starts_with("OTHER-")
    });
    let made: HashSet<Uuid> = made.map(|it| it["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(made, answered, "a product for each key, and nobody was told of another");
}

/// A list that is walked by its cursors has each product once, in order.
async fn turn_pages(endpoint: &Endpoint) {
    let price = |nth: usize| (nth * 37) % 20;
    // Of its own: another run may have been here before.
    let category = format!("leaves-{}", Uuid::from_u128(rand::random()).simple());
    let item = |nth: usize| {
        json!({
            "sku": format!("PAGE-{nth}"), "name": "Leaf", "category": category,
            "price": {"amount": price(nth), "currency": "BRL"}, "stock": {"on_hand": nth % 3},
        })
    };
    let items: Vec<Value> = (0..PAGED).map(item).collect();
    let batch = endpoint.as_seller(Method::POST, "/v1/products/batch");
    let batch = send(batch.json(&json!({ "items": items }))).await;
    let results = batch.json["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["status"] == 201), "{batch:?}");
    let list = |more: &'static str| {
        let path = format!("/v1/catalog/products?category={category}&sort=price&limit=7{more}");
        move || endpoint.to(Method::GET, &path)
    };
    let all = eventually("all are listed", async || {
        Some(walk(list("")).await).filter(|all| all.len() >= PAGED)
    })
    .await;
    let amounts: Vec<i64> = all.iter().map(|it| it["price"]["amount"].as_i64().unwrap()).collect();
    assert!(amounts.is_sorted(), "{amounts:?}");
    let ids: HashSet<&str> = all.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((all.len(), ids.len()), (PAGED, PAGED), "each comes once");
    let in_stock = walk(list("&in_stock=true&price_min=3&price_max=11")).await;
    let wanted = (0..PAGED).filter(|nth| (3..=11).contains(&price(*nth)) && nth % 3 > 0).count();
    assert_eq!(in_stock.len(), wanted);
    let categories = send(endpoint.to(Method::GET, "/v1/catalog/categories")).await;
    let named = |slug: &str| {
        categories.json["data"].as_array().unwrap().iter().any(|it| it["slug"] == slug)
    };
    assert!(named(&category) && named("contended"), "{categories:?}");
}

/// The two stores agree.
async fn compare(endpoint: &Endpoint) {
    let asked = endpoint.as_operator(Method::POST, "/v1/admin/reconciliations");
    let asked = send(asked.json(&json!({"deep": true}))).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let path = format!("/v1/admin/reconciliations/{}", asked.json["id"].as_str().unwrap());
    let report = eventually("everything is compared", async || {
        let report = send(endpoint.as_operator(Method::GET, &path)).await;
        assert_eq!(report.status, 200, "{report:?}");
        (report.json["state"] == "finished").then_some(report.json)
    })
    .await;
    assert_eq!(counts(&report), [0; 6], "{report}");
    assert!(report["compared"].as_i64().unwrap() > 200, "{report}");
    let outbox = send(endpoint.as_operator(Method::GET, "/v1/admin/outbox")).await;
    assert_eq!(outbox.json["pending"], 0, "{outbox:?}");
    let letters = send(endpoint.as_operator(Method::GET, "/v1/admin/dead-letters")).await;
    assert_eq!(letters.json["data"], json!([]), "{letters:?}");
}
