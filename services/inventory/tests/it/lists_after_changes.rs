//! The seller's lists and histories after every way in which a product appears, changes and disappears.
//!
//! The filters come from the API description, so a new one has to be written down in [`Shop::expected`].

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::http::auth::Role;
use shared::id::UserId;
use testkit::{Call, TestResponse};

use crate::{TestService, shoe};

/// Numbers of elements in a page.
const LIMITS: [usize; 3] = [1, 2, 100];

/// The parameters that [`Shop::expected`] knows, and those of pages.
const PARAMETERS: [&str; 4] = ["status", "sku", "limit", "cursor"];

/// What no status stands for.
const DELETED: &str = "deleted";

/// Two sellers with products of the same SKUs, and every version of each product.
struct Shop {
    service: TestService,
    sellers: [UserId; 2],
    /// In order of creation, so newest last.
    products: Vec<Tracked>,
    statuses: Vec<String>,
    skus: BTreeSet<String>,
    steps: usize,
}

struct Tracked {
    seller: usize,
    /// Entries of its history, oldest first.
    versions: Vec<Value>,
}

impl Tracked {
    fn last(&self) -> &Value {
        &self.versions.last().unwrap()["product"]
    }

    fn path(&self) -> String {
        format!("/v1/products/{}", self.last()["id"].as_str().unwrap())
    }

    fn is_deleted(&self) -> bool {
        self.last().get("deleted_at").is_some()
    }
}

/// The parameters of the list, as described.
fn parameters() -> Vec<Value> {
    let document = serde_json::to_value(inventory::routes().into_openapi()).unwrap();
    document["paths"]["/v1/products"]["get"]["parameters"].as_array().unwrap().clone()
}

/// The statuses that the API description names.
fn statuses() -> Vec<String> {
    let document = serde_json::to_value(inventory::routes().into_openapi()).unwrap();
    let statuses = document["components"]["schemas"]["Status"]["enum"].as_array().unwrap();
    statuses.iter().map(|status| status.as_str().unwrap().to_owned()).collect()
}

impl Shop {
    async fn new() -> Self {
        let service = TestService::new().await;
        let sellers = [service.user_id, UserId::from_u128(0x007e_57e5)];
        let (products, skus) = (Vec::new(), BTreeSet::from(["NONE".to_owned()]));
        Self { service, sellers, products, statuses: statuses(), skus, steps: 0 }
    }

    async fn send(&self, seller: usize, call: Call) -> TestResponse {
        let token = self.service.tokens.token(self.sellers[seller], Role::Seller);
        call.bearer(&token).send(&self.service.router).await
    }

    /// An entry of a history, as of now.
    fn entry(&self, seller: usize, change: &str, product: Value) -> Value {
        json!({
            "version": product["version"], "at": self.service.clock.now(),
            "actor": self.sellers[seller], "change": change, "product": product,
        })
    }

    async fn create(&mut self, seller: usize, sku: &str, amount: i64, status: &str) -> usize {
        self.service.clock.advance(Duration::from_millis(7));
        let mut product = shoe(sku);
        product["price"]["amount"] = json!(amount);
        product["status"] = json!(status);
        let created = self.send(seller, Call::post("/v1/products").json(&product)).await;
        let entry = self.entry(seller, "created", created.expect(201).json);
        self.products.push(Tracked { seller, versions: vec![entry] });
        self.skus.insert(sku.to_owned());
        self.products.len() - 1
    }

    async fn change(&mut self, nth: usize, patch: Value) {
        self.service.clock.advance(Duration::from_millis(7));
        if let Some(sku) = patch["sku"].as_str() {
            self.skus.insert(sku.to_owned());
        }
        let Tracked { seller, .. } = self.products[nth];
        let call = Call::patch(&self.products[nth].path()).header("if-match", "*").json(&patch);
        let changed = self.send(seller, call).await.expect(200);
        let entry = self.entry(seller, "updated", changed.json);
        self.products[nth].versions.push(entry);
    }

    async fn delete(&mut self, nth: usize) {
        self.service.clock.advance(Duration::from_millis(7));
        let Tracked { seller, .. } = self.products[nth];
        let call = Call::delete(&self.products[nth].path()).header("if-match", "*");
        self.send(seller, call).await.expect(204);
        let mut product = self.products[nth].last().clone();
        product["version"] = json!(product["version"].as_i64().unwrap() + 1);
        product["updated_at"] = json!(self.service.clock.now());
        product["deleted_at"] = product["updated_at"].clone();
        let entry = self.entry(seller, "deleted", product);
        self.products[nth].versions.push(entry);
    }

    async fn restore(&mut self, nth: usize) {
        self.service.clock.advance(Duration::from_millis(7));
        let Tracked { seller, .. } = self.products[nth];
        let call = Call::post(&format!("{}/restore", self.products[nth].path()));
        let restored = self.send(seller, call).await.expect(200);
        let entry = self.entry(seller, "restored", restored.json);
        self.products[nth].versions.push(entry);
    }

    /// Brings a product from any state into another one.
    async fn bring(&mut self, nth: usize, state: &str) {
        if state == DELETED {
            self.delete(nth).await;
            return;
        }
        if self.products[nth].is_deleted() {
            self.restore(nth).await;
        }
        if self.products[nth].last()["status"] != state {
            self.change(nth, json!({"status": state})).await;
        }
    }

    /// The list of a seller with these filters: newest first, without deleted products.
    fn expected(&self, seller: usize, status: Option<&str>, sku: Option<&str>) -> Vec<Value> {
        let newest_first = self.products.iter().rev();
        let own = newest_first.filter(|it| it.seller == seller && !it.is_deleted());
        let own = own.map(Tracked::last);
        let own = own.filter(|it| status.is_none_or(|status| it["status"] == status));
        own.filter(|it| sku.is_none_or(|sku| it["sku"] == sku)).cloned().collect()
    }

    /// The elements of all pages of a list.
    async fn pages(&self, seller: usize, path: &str, limit: usize) -> Vec<Value> {
        let mut found = Vec::new();
        let mut path = format!("{path}limit={limit}");
        loop {
            let page = self.send(seller, Call::get(&path)).await.expect(200);
            let data = page.json["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            found.extend(data.iter().cloned());
            if page.json["page"]["has_more"] == json!(false) {
                return found;
            }
            assert_eq!(data.len(), limit, "{path}");
            page.header("link").split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
        }
    }

    /// Checks every list of both sellers, and the history of the product that has just changed.
    async fn check(&mut self, changed: usize, step: &str) {
        let statuses = std::iter::once(None).chain(self.statuses.iter().map(|it| Some(&**it)));
        let mut turn = self.steps;
        for status in statuses {
            for sku in std::iter::once(None).chain(self.skus.iter().map(|it| Some(&**it))) {
                for seller in 0..self.sellers.len() {
                    let mut path = "/v1/products?".to_owned();
                    for (name, value) in [("status", status), ("sku", sku)] {
                        if let Some(value) = value {
                            path.push_str(&format!("{name}={value}&"));
                        }
                    }
                    turn += 1;
                    let found = self.pages(seller, &path, LIMITS[turn % LIMITS.len()]).await;
                    let expected = self.expected(seller, status, sku);
                    assert_eq!(found, expected, "{path} of seller {seller} when it {step}");
                }
            }
        }
        self.check_history(changed, LIMITS[self.steps % LIMITS.len()]).await;
        self.steps += 1;
    }

    async fn check_history(&self, nth: usize, limit: usize) {
        let tracked = &self.products[nth];
        let path = format!("{}/history?", tracked.path());
        let mut found = self.pages(tracked.seller, &path, limit).await;
        for (found, expected) in found.iter_mut().zip(&tracked.versions) {
            without_unknown_hash(&mut found["product"], &expected["product"]);
        }
        assert_eq!(found, tracked.versions, "{path}");
        // At its own time a version is current, and just before it the one before.
        let last: DateTime<Utc> =
            tracked.versions.last().unwrap()["at"].as_str().unwrap().parse().unwrap();
        let ago = |age: TimeDelta| (last - age).to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut versions = tracked.versions.iter().rev();
        for at in [ago(TimeDelta::zero()), ago(TimeDelta::microseconds(1))] {
            let then = self.send(tracked.seller, Call::get(&format!("{path}as_of={at}"))).await;
            match versions.next() {
                Some(expected) => {
                    let mut product = then.expect(200).json;
                    without_unknown_hash(&mut product, &expected["product"]);
                    assert_eq!(product, expected["product"], "{path}as_of={at}");
                }
                None => drop(then.expect(404)),
            }
        }
    }
}

/// No response has shown the hash of a deleted product.
fn without_unknown_hash(found: &mut Value, expected: &Value) {
    if expected.get("deleted_at").is_some() {
        found["content_hash"] = expected["content_hash"].clone();
    }
}

#[test]
fn every_parameter_of_the_list_is_known_to_the_model() {
    let described = parameters();
    let described: BTreeSet<&str> =
        described.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(described, BTreeSet::from(PARAMETERS), "write down what a new parameter does");
    assert!(statuses().len() > 2, "{:?}", statuses());
}

#[tokio::test]
async fn every_list_is_right_after_every_change() {
    let mut shop = Shop::new().await;
    let statuses = shop.statuses.clone();
    let states: Vec<&str> = statuses.iter().map(|it| &**it).chain([DELETED]).collect();
    // Neither SKUs nor prices are in the order of creation, and the sellers have SKUs in common.
    for (seller, sku, amount, status) in
        [(0, "M", 500, 1), (1, "K", 100, 1), (0, "B", 900, 0), (1, "M", 300, 1), (0, "Z", 200, 1)]
    {
        let created = shop.create(seller, sku, amount, states[status]).await;
        shop.check(created, "is created").await;
    }
    shop.bring(3, states[2]).await;
    shop.check(3, "is archived").await;
    let changing = shop.create(0, "K", 400, states[0]).await;
    shop.create(0, "A", 700, states[1]).await;
    shop.create(1, "C", 600, states[0]).await;
    for (nth, from) in states.iter().enumerate() {
        for to in &states[nth + 1..] {
            for state in [from, to] {
                let is_there = match shop.products[changing].is_deleted() {
                    true => *state == DELETED,
                    false => shop.products[changing].last()["status"] == *state,
                };
                if !is_there {
                    shop.bring(changing, state).await;
                    shop.check(changing, &format!("becomes {state}")).await;
                }
            }
        }
    }
    shop.bring(changing, states[1]).await;
    for patch in [
        json!({"price": {"amount": 50}}),
        json!({"name": "Another shoe", "category": "hats"}),
        json!({"sku": "Q"}),
        json!({"attributes": {"size": null}, "description": "New"}),
    ] {
        shop.change(changing, patch.clone()).await;
        shop.check(changing, &format!("gets {patch}")).await;
    }
    // Another product takes the SKU that is free now, and after a deletion once more.
    let heir = shop.create(0, "K", 800, states[1]).await;
    shop.check(heir, "takes a free SKU").await;
    shop.delete(heir).await;
    shop.change(changing, json!({"sku": "K"})).await;
    shop.check(changing, "has its SKU again").await;
    assert!(shop.steps >= 2 * LIMITS.len());
}
