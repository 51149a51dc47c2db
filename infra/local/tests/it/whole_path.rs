//! From a seller's request to a buyer's page, over HTTP only. The edition under test is a local one, or
//! the deployed one at `VITRINA_TEST_URL`, which must have no other users at the time. A deployed
//! edition also needs the tokens `VITRINA_TEST_SELLER`, of a seller without products, and
//! `VITRINA_TEST_OPERATOR`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use shared::id::ProductId;
use testkit::eventually;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::kills::concurrent_clients::{ConcurrentClient, SharedProducts};
use crate::kills::supervised::{Address, AddressWatch};
use crate::kills::writers::{WriteLog, Writer};
use crate::kills::{CONCURRENT_CLIENTS, WRITERS, client};
use crate::openapi::send;
use crate::process::Process;
use crate::reconciliation::counts;
use crate::repeats::{Client, Outcome, Request};

const SEED: u64 = 5;

/// Number of idempotency keys.
const KEYS: u64 = 100;

/// Keys that are in use at the same time. Each has several requests, and a stage takes a few dozen.
const AT_ONCE: usize = 8;

/// Number of products that are listed page by page.
const PAGED: usize = 60;

/// The edition under test, local or deployed.
struct Endpoint {
    http: reqwest::Client,
    seller: Address,
    operator: String,
    /// The process of a local edition.
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

#[expect(clippy::disallowed_methods, reason = "the environment selects the edition under test")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// All elements of a paged list.
async fn list_all(first: impl Fn() -> reqwest::RequestBuilder) -> Vec<Value> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buyers_see_what_sellers_write_locally_or_deployed() {
    let endpoint = Endpoint::open().await;
    let summary = write_and_read(&endpoint).await;
    eprintln!("{summary}");
    repeat_creates(&endpoint).await;
    list_pages(&endpoint).await;
    reconcile(&endpoint).await;
    endpoint.close().await;
}

/// Runs writers and concurrent clients. Buyers must see what was acknowledged, and the responses must be
/// linearizable. Returns a summary.
async fn write_and_read(endpoint: &Endpoint) -> String {
    let stop = CancellationToken::new();
    let address = || AddressWatch::fixed(endpoint.seller.clone(), stop.clone());
    let log = Arc::new(Mutex::new(WriteLog::default()));
    let products = Arc::new(SharedProducts::default());
    let mut clients = Vec::new();
    for writer in 0..WRITERS {
        let (name, log) = (format!("w{writer}"), Arc::clone(&log));
        let writer = Writer { name, http: client(), address: address(), log };
        clients.push(tokio::spawn(writer.run()));
    }
    for number in 1..=CONCURRENT_CLIENTS {
        let client = ConcurrentClient::new(number, SEED, address(), &products);
        clients.push(tokio::spawn(client.run()));
    }
    eventually("enough writes and reads", async || {
        let written = log.lock().unwrap().count_by_kind().iter().all(|count| *count > 20);
        let histories = products.histories.lock().unwrap();
        let noted = histories.confirmed() > 20 && histories.overlaps() > 20;
        (written && noted).then_some(())
    })
    .await;
    stop.cancel();
    for client in clients {
        client.await.unwrap();
    }
    let log = Arc::into_inner(log).unwrap().into_inner().unwrap();
    log.check(&endpoint.http, &endpoint.seller.url).await;
    let mut histories = std::mem::take(&mut *products.histories.lock().unwrap());
    histories.read_until_consistent(&endpoint.http, &endpoint.seller, &products).await;
    let explained = histories.explain(SEED);
    assert!(explained.overlaps > 20 && explained.confirmed > 20, "{explained:?}");
    // A 503 may come from the limits of a busy edition.
    assert_eq!(log.lost, 0, "responses were lost although nothing was killed");
    let WriteLog { acknowledged, unavailable, .. } = log;
    format!(
        "{acknowledged} writes acknowledged and listed, {unavailable} unavailable; {explained:?}"
    )
}

/// Concurrent creates with one key create one product.
async fn repeat_creates(endpoint: &Endpoint) {
    let http = endpoint.http.clone();
    let (url, token) =
        (format!("{}/v1/products", endpoint.seller.url), endpoint.seller.token.clone());
    let client = Client { http, url, token };
    let sent = (0..KEYS).map(|nth| client.send(Request::new(nth, SEED)));
    let outcomes: Vec<Outcome> =
        futures::stream::iter(sent).buffer_unordered(AT_ONCE).collect().await;
    let returned: HashSet<ProductId> = outcomes.iter().map(|outcome| outcome.id).collect();
    assert_eq!(returned.len(), outcomes.len(), "two keys got the same product");
    let own = list_all(|| endpoint.as_seller(Method::GET, "/v1/products?limit=100")).await;
    let created = own.iter().filter(|product| {
        let sku = product["sku"].as_str().unwrap();
        sku.starts_with("SKU-") || sku.starts_with("OTHER-")
    });
    let created: HashSet<ProductId> =
        created.map(|it| it["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(created, returned, "the products are not those of the responses");
}

/// A paged list has each product once, in order.
async fn list_pages(endpoint: &Endpoint) {
    let price = |nth: usize| (nth * 37) % 20;
    // A category of this run only: an earlier run may have left products.
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
    let all = eventually("all products to be listed", async || {
        Some(list_all(list("")).await).filter(|all| all.len() >= PAGED)
    })
    .await;
    let amounts: Vec<i64> = all.iter().map(|it| it["price"]["amount"].as_i64().unwrap()).collect();
    assert!(amounts.is_sorted(), "{amounts:?}");
    let ids: HashSet<&str> = all.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((all.len(), ids.len()), (PAGED, PAGED), "each product must be listed once");
    let in_stock = list_all(list("&in_stock=true&price_min=3&price_max=11")).await;
    let wanted = (0..PAGED).filter(|nth| (3..=11).contains(&price(*nth)) && nth % 3 > 0).count();
    assert_eq!(in_stock.len(), wanted);
    let categories = send(endpoint.to(Method::GET, "/v1/catalog/categories")).await;
    let named = |slug: &str| {
        categories.json["data"].as_array().unwrap().iter().any(|it| it["slug"] == slug)
    };
    assert!(named(&category) && named("contended"), "{categories:?}");
}

/// A deep reconciliation finds no difference.
async fn reconcile(endpoint: &Endpoint) {
    let run = endpoint.as_operator(Method::POST, "/v1/admin/reconciliations");
    let run = send(run.json(&json!({"deep": true}))).await;
    assert_eq!(run.status, 202, "{run:?}");
    let path = format!("/v1/admin/reconciliations/{}", run.json["id"].as_str().unwrap());
    let report = eventually("the end of the reconciliation", async || {
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
