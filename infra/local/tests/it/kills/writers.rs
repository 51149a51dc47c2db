//! Sellers who write to products of their own, so that each knows what his products must be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::supervised::{Address, Place};
use super::{BREATH, answered};
use crate::openapi::{Answer, send};

/// How long what was acknowledged may take to be shown after a restart.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was answered with a success.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    products: HashMap<String, Known>,
    pub(crate) acknowledged: u32,
    /// Writes whose answers did not arrive.
    pub(crate) lost: u32,
}

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

/// A seller who writes until it is time to stop.
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) http: reqwest::Client,
    pub(crate) place: Place,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
}

impl Writer {
    /// Creates products, one by one and in batches, changes them, and deletes some.
    pub(crate) async fn write(mut self) {
        let mut n = 0;
        while let Some(address) = self.place.find().await {
            n += 1;
            if self.write_once(&address, &format!("{}-{n}", self.name), n).await.is_none() {
                self.ledger.lock().unwrap().lost += 1;
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    fn to(&self, address: &Address, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/products{path}", address.url));
        request.bearer_auth(&address.token)
    }

    /// A few writes after each other; `None` as soon as an answer is lost.
    async fn write_once(&self, address: &Address, sku: &str, n: u32) -> Option<()> {
        let create = self.to(address, Method::POST, "").json(&body(sku, n));
        let one = self.acknowledge(&expect(create, 201).await?);
        let items: Vec<Value> = (0..3).map(|nth| body(&format!("{sku}-{nth}"), n)).collect();
        let batch = self.to(address, Method::POST, "/batch").json(&json!({ "items": items }));
        let created = expect(batch, 200).await?;
        let results = created["results"].as_array().unwrap().iter();
        let mut batch = results.map(|result| {
            assert_eq!(result["status"], json!(201), "{result}");
            self.acknowledge(&result["product"])
        });
        // The first of a batch stays as it is.
        let (_, second, third) = (batch.next()?, batch.next()?, batch.next()?);
        if n.is_multiple_of(2) {
            self.change(address, &one, Change::Rename).await?;
        }
        self.change(address, &second, Change::Sell).await?;
        self.change(address, &second, Change::Sell).await?;
        self.change(address, &third, Change::Delete).await
    }

    fn acknowledge(&self, product: &Value) -> String {
        let id = product["id"].as_str().unwrap().to_owned();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.products.insert(id.clone(), Known::of(product));
        ledger.acknowledged += 1;
        id
    }

    async fn change(&self, address: &Address, id: &str, change: Change) -> Option<()> {
        let known = {
            let mut ledger = self.ledger.lock().unwrap();
            let known = ledger.products.get_mut(id).unwrap();
            known.asked = Some(change);
            known.clone()
        };
        let after = known.after(change);
        let (request, status) = match change {
            Change::Rename => {
                let name = json!({"name": after.name});
                (self.to(address, Method::PATCH, &format!("/{id}")).json(&name), 200)
            }
            Change::Delete => (self.to(address, Method::DELETE, &format!("/{id}")), 204),
            Change::Sell => {
                let sold = json!({"delta": -1, "reason": "sold"});
                let path = format!("/{id}/stock/adjustments");
                (self.to(address, Method::POST, &path).json(&sold), 200)
            }
        };
        expect(request.header("if-match", "*"), status).await?;
        let mut ledger = self.ledger.lock().unwrap();
        ledger.products.insert(id.to_owned(), after);
        ledger.acknowledged += 1;
        Some(())
    }
}

/// The body of a whole answer with this status; `None` if the answer was lost.
async fn expect(request: reqwest::RequestBuilder, status: u16) -> Option<Value> {
    let answer = answered(request).await?;
    assert_eq!(answer.status, status, "{}", answer.text);
    Some(answer.json)
}

impl Ledger {
    /// Buyers see every product as it was acknowledged.
    pub(crate) async fn check(&self, http: &reqwest::Client, url: &str) {
        let kinds = self.kinds();
        assert!(kinds.iter().all(|count| *count > 10), "only {kinds:?} writes: what was tested?");
        for (id, known) in &self.products {
            check(http, url, id, known).await;
        }
    }

    /// Products that were only created, changed, deleted, and sold of.
    pub(crate) fn kinds(&self) -> [usize; 4] {
        let of = |fits: fn(&Known) -> bool| self.products.values().filter(|k| fits(k)).count();
        [
            of(|known| known.version == 1 && known.on_hand == Known::ON_HAND),
            of(|known| known.version == 2 && !known.deleted),
            of(|known| known.deleted),
            of(|known| known.on_hand < Known::ON_HAND),
        ]
    }
}

async fn check(http: &reqwest::Client, url: &str, id: &str, known: &Known) {
    let url = format!("{url}/v1/catalog/products/{id}");
    let begun = Instant::now();
    // A backlog may take a few seconds after the start.
    loop {
        let shown = send(http.get(&url)).await;
        if known.may_be().iter().any(|state| state.is_shown_by(&shown)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{id} is lost: {known:?} is shown as {}", shown.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
