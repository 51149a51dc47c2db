//! `vitrina sync` over thousands of products, with drift written directly into the listings.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Output;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use shared::contract::listing::ListingItem;
use shared::dynamodb::connect_local;
use shared::id::ProductId;
use testkit::eventually;

use crate::openapi::send;
use crate::process::{Process, vitrina};

/// About three in each of the 1,024 buckets. The bench reconciles a million.
const PRODUCTS: usize = 3_000;

/// Number of products that are imported while sellers change others.
const IMPORTED: usize = 500;

/// Number of products with each kind of drift, 5 % in all.
const PLANTED: usize = 25;

/// How often drift is planted and repaired while sellers write to other products.
const LIVE_RUNS: usize = 2;

async fn command(data: &Path, args: &[&str]) -> Output {
    vitrina(data).args(args).output().await.unwrap()
}

pub(crate) async fn json_of(data: &Path, args: &[&str]) -> Value {
    let output = command(data, args).await;
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

async fn seed(data: &Path, products: usize) {
    let output = command(data, &["seed", "--products", &products.to_string()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until no event is in flight.
pub(crate) async fn wait_until_drained(data: &Path) {
    eventually("the end of all events in flight", async || {
        let status = json_of(data, &["status", "-o", "json"]).await;
        assert_eq!(status["dead_letters"], json!(0));
        let in_flight = ["outbox_pending", "queue_visible", "queue_in_flight"];
        in_flight.iter().all(|name| status[name] == json!(0)).then_some(())
    })
    .await;
}

/// Differences in a report, by kind.
pub(crate) fn counts(report: &Value) -> [i64; 6] {
    ["missing", "stale", "ahead", "extra", "altered", "stock"]
        .map(|kind| report[kind].as_i64().unwrap())
}

pub(crate) struct Listings(Client);

impl Listings {
    pub(crate) fn of(data: &Path) -> Self {
        let running = std::fs::read(data.join("running.json")).unwrap();
        let running: Value = serde_json::from_slice(&running).unwrap();
        Self(connect_local(running["dynamodb"].as_str().unwrap()))
    }

    pub(crate) async fn all(&self) -> Vec<ListingItem> {
        let mut items = Vec::new();
        let mut pages = self.0.scan().table_name("listings").into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.unwrap().items.unwrap_or_default();
            // The item with the set of categories has no such attribute.
            let listings = page.into_iter().filter(|item| item.contains_key("product_version"));
            for item in listings {
                items.push(serde_dynamo::aws_sdk_dynamodb_1::from_item(item).unwrap());
            }
        }
        items
    }

    async fn put(&self, item: &ListingItem) {
        let item = serde_dynamo::aws_sdk_dynamodb_1::to_item(item).unwrap();
        let put = self.0.put_item().table_name("listings").set_item(Some(item));
        put.send().await.unwrap();
    }

    pub(crate) async fn delete(&self, item: &ListingItem) {
        let delete = self
            .0
            .delete_item()
            .table_name("listings")
            .key("bucket", AttributeValue::N(item.bucket.to_string()))
            .key("id", AttributeValue::S(item.id.to_string()));
        delete.send().await.unwrap();
    }

    /// Plants drift of every kind. `victims` are the listings before and after a change of products in
    /// stock, and each gets one kind. Returns the ids of the products that must be announced again.
    async fn plant(&self, victims: Vec<(ListingItem, ListingItem)>) -> BTreeSet<ProductId> {
        let mut planted: BTreeSet<ProductId> = victims.iter().map(|(_, after)| after.id).collect();
        let mut victims = victims.into_iter();
        let mut victim = || victims.next().unwrap();
        for _ in 0..PLANTED {
            self.delete(&victim().1).await;

            let (stale, _) = victim();
            self.put(&stale).await;

            let (_, mut ahead) = victim();
            ahead.product_version += 7;
            self.put(&ahead).await;

            let (_, mut extra) = victim();
            // A listing in the same bucket, of a product that never existed.
            planted.remove(&extra.id);
            extra.id = ProductId::from_u128(extra.id.uuid().as_u128() ^ (1 << 40));
            planted.insert(extra.id);
            self.put(&extra).await;

            let (_, mut altered) = victim();
            altered.name = Some("Altered directly".to_owned());
            self.put(&altered).await;

            let (_, mut stock) = victim();
            stock.on_hand += 1_000;
            self.put(&stock).await;
        }
        planted
    }

    /// The event positions of each listing. Only a new announcement advances them.
    async fn positions(&self) -> BTreeSet<(ProductId, i64, i64)> {
        let all = self.all().await.into_iter();
        all.map(|item| (item.id, item.product_position, item.stock_position)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciliation_finds_and_repairs_exactly_the_planted_drift() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let process = Process::start(data).await;
    seed(data, PRODUCTS).await;
    wait_until_drained(data).await;
    let listings = Listings::of(data);

    let clean = json_of(data, &["sync", "--deep", "--json"]).await;
    assert_eq!(clean["compared"], json!(PRODUCTS));
    assert_eq!(counts(&clean), [0; 6], "{clean}");

    let victims = change_some(&listings, &process, data).await;
    let before = listings.positions().await;
    let planted = listings.plant(victims).await;
    let output = command(data, &["sync", "--deep", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "differences have an exit code of their own");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let each = i64::try_from(PLANTED).unwrap();
    assert_eq!(counts(&found), [each; 6], "{found}");
    wait_until_drained(data).await;
    let after = listings.positions().await;
    let announced: BTreeSet<ProductId> = after.difference(&before).map(|(id, ..)| *id).collect();
    assert_eq!(announced, planted, "exactly what was planted is announced again");
    let again = json_of(data, &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&again), [0; 6], "{again}");

    // While sellers write, events in flight are not reported, and no newer listing is overwritten.
    let writing = Writing::default();
    let (live, changed) = tokio::join!(
        async {
            writing.begun().await;
            let live = json_of(data, &["sync", "--deep", "--json"]).await;
            writing.end();
            live
        },
        keep_changing(&process, data, &writing)
    );
    assert_eq!(counts(&live), [0; 6], "{live}");
    wait_until_drained(data).await;
    let names: HashMap<ProductId, Option<String>> =
        listings.all().await.into_iter().map(|listing| (listing.id, listing.name)).collect();
    for (id, name) in changed {
        assert_eq!(names[&id], Some(name), "{id}");
    }

    drift_while_sellers_write(&listings, &process, data).await;

    let before: BTreeSet<String> = fingerprints(&listings.all().await);
    listings.0.delete_table().table_name("listings").send().await.unwrap();
    let rebuilt = json_of(data, &["sync", "--json"]).await;
    assert_eq!(rebuilt["missing"], json!(PRODUCTS + 2 * IMPORTED), "{rebuilt}");
    wait_until_drained(data).await;
    assert_eq!(fingerprints(&listings.all().await), before);
    process.terminate().await;
}

/// Plants drift in idle products and repairs it while sellers write to other products. Afterwards each
/// listing must be as it was before, or as its seller left it.
async fn drift_while_sellers_write(listings: &Listings, process: &Process, data: &Path) {
    let sellers = own_products(process).await;
    let all = listings.all().await;
    let (written, idle): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|listing| sellers.contains(&listing.id));
    assert_eq!(written.len(), sellers.len());
    let untouched = fingerprints(&idle);
    // These are in stock, so that more stock changes no index key: that would be another kind of drift.
    let can_be_bought =
        |listing: &ListingItem| listing.product().is_some() && listing.available() > 0;
    let victims: Vec<ListingItem> = idle.into_iter().filter(can_be_bought).collect();
    let writing = Writing::default();
    let sync_repeatedly = async {
        writing.begun().await;
        let mut found = [0; 6];
        for round in victims.chunks(3 * PLANTED).take(LIVE_RUNS) {
            for (nth, victim) in round.iter().enumerate() {
                let mut drifted = victim.clone();
                match nth % 3 {
                    0 => {
                        listings.delete(victim).await;
                        continue;
                    }
                    1 => drifted.on_hand += 1_000,
                    _ => drifted.name = Some("Altered directly".to_owned()),
                }
                listings.put(&drifted).await;
            }
            let report = json_of(data, &["sync", "--deep", "--json"]).await;
            for (sum, count) in found.iter_mut().zip(counts(&report)) {
                *sum += count;
            }
        }
        writing.end();
        found
    };
    let (found, changed) = tokio::join!(sync_repeatedly, keep_changing(process, data, &writing));
    wait_until_drained(data).await;
    let last = json_of(data, &["sync", "--deep", "--json"]).await;
    assert_eq!(counts(&last), [0; 6], "{last}");
    let each = i64::try_from(LIVE_RUNS * PLANTED).unwrap();
    assert_eq!(found, [each, 0, 0, 0, each, each], "exactly the planted drift is found");

    let all = listings.all().await;
    let after: HashMap<ProductId, &ListingItem> =
        all.iter().map(|listing| (listing.id, listing)).collect();
    for (id, name) in changed {
        assert_eq!(after[&id].name, Some(name), "{id}");
    }
    let all = fingerprints(&all);
    assert_eq!(
        untouched.difference(&all).next(),
        None,
        "a repaired listing differs from its original"
    );
    compare_with_sellers(process, &sellers, &after).await;
}

/// Checks that the listings of these products equal what their seller reads.
async fn compare_with_sellers(
    process: &Process,
    ids: &[ProductId],
    listings: &HashMap<ProductId, &ListingItem>,
) {
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    for id in ids {
        let request = http.get(format!("{}/v1/products/{id}", process.url)).bearer_auth(&token);
        let product = send(request).await.json;
        let listing = listings[id];
        assert_eq!(product["version"], json!(listing.product_version), "{id}");
        assert_eq!(product["name"], json!(listing.name), "{id}");
        let listed = listing.product().unwrap();
        assert_eq!(product["content_hash"], json!(listed.content_hash), "{id}");
    }
}

/// Renames some products that are in stock, and returns their listings before and after.
async fn change_some(
    listings: &Listings,
    process: &Process,
    data: &Path,
) -> Vec<(ListingItem, ListingItem)> {
    let all = listings.all().await;
    assert_eq!(all.len(), PRODUCTS);
    let in_stock = all.into_iter().filter(|listing| listing.available() > 0);
    let chosen: Vec<ListingItem> = in_stock.take(6 * PLANTED).collect();
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    for ListingItem { id, .. } in &chosen {
        let request = http
            .patch(format!("{}/v1/products/{id}", process.url))
            .bearer_auth(&token)
            .header("if-match", "\"v1\"")
            .json(&json!({"name": "A new name"}));
        assert_eq!(send(request).await.status, 200);
    }
    wait_until_drained(data).await;
    let mut after: HashMap<ProductId, ListingItem> =
        listings.all().await.into_iter().map(|listing| (listing.id, listing)).collect();
    let changed = chosen.into_iter().map(|before| {
        let after = after.remove(&before.id).unwrap();
        assert_eq!(after.product_version, 2, "{}", before.id);
        (before, after)
    });
    changed.collect()
}

/// The products that the demo seller writes to.
async fn own_products(process: &Process) -> Vec<ProductId> {
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    let own = format!("{}/v1/products?limit=100", process.url);
    let own: Value = http.get(own).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    let ids: Vec<ProductId> = own["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|product| product["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.len() >= 90, "the seller has too few products");
    ids
}

/// Tells writers when to end, and the comparison when they have begun.
#[derive(Debug, Default)]
struct Writing {
    writes: Cell<u32>,
    has_ended: Cell<bool>,
}

impl Writing {
    async fn begun(&self) {
        eventually("the first write", async || (self.writes.get() > 0).then_some(())).await;
    }

    fn end(&self) {
        self.has_ended.set(true);
    }
}

/// Creates, renames, deletes, restores and sells products until the stores are compared. Returns the
/// final names of the renamed products.
async fn keep_changing(
    process: &Process,
    data: &Path,
    writing: &Writing,
) -> BTreeMap<ProductId, String> {
    let http = reqwest::Client::new();
    let token = process.token(&http, "seller").await;
    let ids = own_products(process).await;
    let send = |method: Method, path: String, body: Option<Value>| {
        let request = http
            .request(method, format!("{}/v1/products/{path}", process.url))
            .bearer_auth(&token)
            .header("if-match", "*");
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        async move {
            let status = request.send().await.unwrap().status();
            assert!(status.is_success(), "{path}: {status}");
            writing.writes.set(writing.writes.get() + 1);
        }
    };
    let changes = async {
        let mut names = BTreeMap::new();
        for round in 0.. {
            if writing.has_ended.get() {
                break;
            }
            for (nth, id) in ids.iter().enumerate() {
                match nth % 3 {
                    0 => {
                        let name = format!("Renamed {round}");
                        let body = json!({"name": name});
                        send(Method::PATCH, id.to_string(), Some(body)).await;
                        names.insert(*id, name);
                    }
                    1 => {
                        let sold = json!({"delta": 1 - 2 * (round % 2), "reason": "sold"});
                        send(Method::POST, format!("{id}/stock/adjustments"), Some(sold)).await;
                    }
                    _ => {
                        send(Method::DELETE, id.to_string(), None).await;
                        send(Method::POST, format!("{id}/restore"), None).await;
                    }
                }
            }
        }
        names
    };
    let (names, ()) = tokio::join!(changes, seed(data, IMPORTED));
    names
}

/// What buyers see of each listing, without tombstones.
fn fingerprints(listings: &[ListingItem]) -> BTreeSet<String> {
    listings
        .iter()
        .filter_map(|listing| {
            let product = listing.product()?;
            assert_eq!(product.content_hash, product.compute_hash());
            Some(format!("{} {:?} {}", listing.id, product.content_hash, listing.available()))
        })
        .collect()
}
