//! Sellers that write to their own products. No other client changes these, so their state is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;

use super::supervised::{Address, AddressWatch};
use super::{RETRY_DELAY, Unknown, complete_response};
use crate::openapi::{ApiResponse, send};

/// The acknowledged state of each product, and counts of writes.
#[derive(Debug, Default)]
pub(crate) struct WriteLog {
    products: HashMap<String, ProductState>,
    pub(crate) acknowledged: u32,
    /// Writes with a lost response.
    pub(crate) lost: u32,
    /// Writes with a 503.
    pub(crate) unavailable: u32,
}

/// State of a product as its seller knows it.
#[derive(Clone, Debug, Default)]
struct ProductState {
    name: String,
    version: i64,
    deleted: bool,
    on_hand: i64,
    /// A change with a lost response. It may have been committed.
    pending: Option<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Rename,
    Delete,
    Sell,
}

impl ProductState {
    /// Initial stock.
    const ON_HAND: i64 = 5;

    fn of(product: &Value) -> Self {
        let name = product["name"].as_str().unwrap().to_owned();
        Self { name, version: 1, on_hand: Self::ON_HAND, ..Self::default() }
    }

    /// The state after a change.
    fn after(&self, change: Change) -> Self {
        let mut after = Self { pending: None, ..self.clone() };
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

    /// The states that a buyer may see: the acknowledged one, or the one after the pending change.
    fn possible_states(&self) -> Vec<Self> {
        let pending = self.pending.map(|change| self.after(change));
        std::iter::once(Self { pending: None, ..self.clone() }).chain(pending).collect()
    }

    /// Whether a buyer's response shows this state.
    fn is_shown_by(&self, response: &ApiResponse) -> bool {
        let listing = &response.json;
        match response.status {
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
        "price": {"amount": amount, "currency": "BRL"}, "stock": {"on_hand": ProductState::ON_HAND},
    })
}

/// A seller that writes until clients must stop.
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) http: reqwest::Client,
    pub(crate) address: AddressWatch,
    pub(crate) log: Arc<Mutex<WriteLog>>,
}

impl Writer {
    /// Creates products one by one and in batches, changes them, and deletes some.
    pub(crate) async fn run(mut self) {
        let mut n = 0;
        while let Some(address) = self.address.wait().await {
            n += 1;
            let written = self.write_once(&address, &format!("{}-{n}", self.name), n).await;
            let Err(unknown) = written else { continue };
            {
                let mut log = self.log.lock().unwrap();
                match unknown {
                    Unknown::Lost => log.lost += 1,
                    Unknown::Unavailable => log.unavailable += 1,
                }
            }
            // Real time: no more than a pause.
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    fn to(&self, address: &Address, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/products{path}", address.url));
        request.bearer_auth(&address.token)
    }

    /// A short sequence of writes, which ends with the first one of unknown effect.
    async fn write_once(&self, address: &Address, sku: &str, n: u32) -> Result<(), Unknown> {
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
        // The first product of a batch is not changed.
        let mut next = || batch.next().unwrap();
        let (_, second, third) = (next(), next(), next());
        if n.is_multiple_of(2) {
            self.change(address, &one, Change::Rename).await?;
        }
        self.change(address, &second, Change::Sell).await?;
        self.change(address, &second, Change::Sell).await?;
        self.change(address, &third, Change::Delete).await
    }

    fn acknowledge(&self, product: &Value) -> String {
        let id = product["id"].as_str().unwrap().to_owned();
        let mut log = self.log.lock().unwrap();
        log.products.insert(id.clone(), ProductState::of(product));
        log.acknowledged += 1;
        id
    }

    async fn change(&self, address: &Address, id: &str, change: Change) -> Result<(), Unknown> {
        let known = {
            let mut log = self.log.lock().unwrap();
            let known = log.products.get_mut(id).unwrap();
            known.pending = Some(change);
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
        let mut log = self.log.lock().unwrap();
        log.products.insert(id.to_owned(), after);
        log.acknowledged += 1;
        Ok(())
    }
}

/// The body of a response with this status.
async fn expect(request: reqwest::RequestBuilder, status: u16) -> Result<Value, Unknown> {
    let response = complete_response(request).await?;
    assert_eq!(response.status, status, "{}", response.text);
    Ok(response.json)
}

impl WriteLog {
    /// Checks that buyers see every product as it was acknowledged.
    pub(crate) async fn check(&self, http: &reqwest::Client, url: &str) {
        let kinds = self.count_by_kind();
        assert!(
            kinds.iter().all(|count| *count > 10),
            "only {kinds:?} writes: too little was tested"
        );
        for (id, known) in &self.products {
            check(http, url, id, known).await;
        }
    }

    /// Number of products that were only created, renamed, deleted, and sold from.
    pub(crate) fn count_by_kind(&self) -> [usize; 4] {
        let count = |matches: fn(&ProductState) -> bool| {
            self.products.values().filter(|state| matches(state)).count()
        };
        [
            count(|known| known.version == 1 && known.on_hand == ProductState::ON_HAND),
            count(|known| known.version == 2 && !known.deleted),
            count(|known| known.deleted),
            count(|known| known.on_hand < ProductState::ON_HAND),
        ]
    }
}

async fn check(http: &reqwest::Client, url: &str, id: &str, known: &ProductState) {
    let url = format!("{url}/v1/catalog/products/{id}");
    // A backlog may take a few seconds to drain after the start.
    eventually(&format!("the listing of {id} to be {known:?}"), async || {
        let shown = send(http.get(&url)).await;
        known.possible_states().iter().any(|state| state.is_shown_by(&shown)).then_some(())
    })
    .await;
}
