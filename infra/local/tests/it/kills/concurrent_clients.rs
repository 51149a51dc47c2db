//! Clients that call about the same few products concurrently, and record calls and responses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use shared::id::ProductId;

use super::histories::{CATEGORY, Histories, ON_HAND};
use super::supervised::{Address, AddressWatch};
use super::{RETRY_DELAY, client, complete_response};
use crate::history::buyer_reads::{BuyerRead, ReadKind, Seen};
use crate::history::{Operation, product, stock};
use crate::openapi::ApiResponse;

/// Number of products that are shared at a time.
const PRODUCTS: usize = 4;

/// After so many calls a product is replaced, so that its history stays short enough to check.
const MAX_CALLS: u32 = 60;

/// The products that all clients share, and the histories of all products.
#[derive(Debug)]
pub(crate) struct SharedProducts {
    began: Instant,
    slots: Mutex<[Option<(ProductId, u32)>; PRODUCTS]>,
    pub(crate) histories: Mutex<Histories>,
}

impl Default for SharedProducts {
    fn default() -> Self {
        let (slots, histories) = (Mutex::default(), Mutex::default());
        // Real time: a history has the order of its calls.
        Self { began: Instant::now(), slots, histories }
    }
}

impl SharedProducts {
    /// The time since the history began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The product in a slot. `None` if the caller must create a new one for it.
    fn pick(&self, slot: usize) -> Option<ProductId> {
        let mut slots = self.slots.lock().unwrap();
        match &mut slots[slot] {
            Some((id, calls)) if *calls < MAX_CALLS => {
                *calls += 1;
                Some(*id)
            }
            free => {
                *free = None;
                None
            }
        }
    }

    fn put(&self, slot: usize, id: ProductId) {
        self.slots.lock().unwrap()[slot] = Some((id, 0));
    }
}

/// A client that is both seller and buyer, with one call in flight at a time.
pub(crate) struct ConcurrentClient {
    number: u32,
    calls: u32,
    rng: StdRng,
    http: reqwest::Client,
    address: AddressWatch,
    products: Arc<SharedProducts>,
    /// The last version in a response to this client, of each product and of each stock.
    product_versions: HashMap<ProductId, i64>,
    stock_versions: HashMap<ProductId, i64>,
}

impl ConcurrentClient {
    pub(crate) fn new(
        number: u32,
        seed: u64,
        address: AddressWatch,
        products: &Arc<SharedProducts>,
    ) -> Self {
        Self {
            number,
            calls: 0,
            rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000) + u64::from(number)),
            http: client(),
            address,
            products: Arc::clone(products),
            product_versions: HashMap::new(),
            stock_versions: HashMap::new(),
        }
    }

    /// Sends calls until clients must stop.
    pub(crate) async fn run(mut self) {
        while let Some(address) = self.address.wait().await {
            self.calls += 1;
            let slot = self.rng.random_range(0..PRODUCTS);
            let Some(id) = self.products.pick(slot) else {
                self.create(slot).await;
                continue;
            };
            if self.call(&address, id).await.is_none() {
                self.read_until_response(id).await;
            }
        }
    }

    /// Creates a product for a slot. Retries until a response arrives: the idempotency key prevents
    /// duplicates.
    async fn create(&mut self, slot: usize) {
        let name = self.name();
        let body = json!({
            "sku": name, "name": name, "category": CATEGORY,
            "price": {"amount": 1_000, "currency": "BRL"}, "stock": {"on_hand": ON_HAND},
        });
        let invoked = self.products.now();
        while let Some(address) = self.address.wait().await {
            let request = self.to(&address, Method::POST, "").header("idempotency-key", &name);
            let Ok(created) = complete_response(request.json(&body)).await else {
                // Real time: no more than a pause.
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            };
            assert_eq!(created.status, 201, "{}", created.text);
            let id = created.json["id"].as_str().unwrap().parse().unwrap();
            let response = Some((self.products.now(), created));
            self.record_product(id, product::Call::Create { name }, invoked, response);
            self.products.put(slot, id);
            return;
        }
    }

    /// One random call. `None` if the response to a change was lost.
    async fn call(&mut self, address: &Address, id: ProductId) -> Option<()> {
        let known = |versions: &HashMap<ProductId, i64>, rng: &mut StdRng| {
            versions.get(&id).copied().filter(|_| rng.random_bool(0.5))
        };
        let if_match = known(&self.product_versions, &mut self.rng);
        match self.rng.random_range(0..100) {
            0..40 => {
                let name = self.name();
                let request = self.to(address, Method::PATCH, &format!("/{id}"));
                let request = expecting(request, if_match).json(&json!({"name": name}));
                self.product(id, product::Call::Rename { name, if_match }, request).await
            }
            40..46 => {
                let request = self.to(address, Method::DELETE, &format!("/{id}"));
                let request = expecting(request, if_match);
                self.product(id, product::Call::Delete { if_match }, request).await
            }
            46..56 => {
                let request = self.to(address, Method::POST, &format!("/{id}/restore"));
                self.product(id, product::Call::Restore, request).await
            }
            56..64 => {
                let request = self.to(address, Method::GET, &format!("/{id}"));
                self.product(id, product::Call::Read, request).await
            }
            64..72 => {
                let delta = [-2, -1, 1, 2][self.rng.random_range(0..4)];
                let request = self.to(address, Method::POST, &format!("/{id}/stock/adjustments"));
                let request = request.json(&json!({"delta": delta, "reason": "counted"}));
                self.stock(id, stock::Call::Adjust { delta }, request).await
            }
            72..78 => {
                let if_match = known(&self.stock_versions, &mut self.rng);
                let on_hand = ON_HAND + self.rng.random_range(0..1_000);
                let request = self.to(address, Method::PUT, &format!("/{id}/stock"));
                let request = expecting(request, if_match).json(&json!({"on_hand": on_hand}));
                self.stock(id, stock::Call::Set { on_hand, if_match }, request).await
            }
            78..82 => {
                let request = self.to(address, Method::GET, &format!("/{id}/stock"));
                self.stock(id, stock::Call::Read, request).await
            }
            82..97 => {
                self.get_listing(address, id, if_match).await;
                Some(())
            }
            _ => {
                self.list(address).await;
                Some(())
            }
        }
    }

    /// Reads a product until a response arrives.
    async fn read_until_response(&mut self, id: ProductId) {
        while let Some(address) = self.address.wait().await {
            // Real time: no more than a pause.
            tokio::time::sleep(RETRY_DELAY).await;
            let request = self.to(&address, Method::GET, &format!("/{id}"));
            if self.product(id, product::Call::Read, request).await.is_some() {
                return;
            }
        }
    }

    fn to(&self, address: &Address, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/v1/products{path}", address.url));
        request.bearer_auth(&address.token)
    }

    /// A name that is used only once.
    fn name(&self) -> String {
        format!("c{}-{}", self.number, self.calls)
    }

    async fn product(
        &mut self,
        id: ProductId,
        call: product::Call,
        request: reqwest::RequestBuilder,
    ) -> Option<()> {
        let invoked = self.products.now();
        let response = complete_response(request).await.ok();
        let response = response.map(|response| (self.products.now(), response));
        self.record_product(id, call, invoked, response)
    }

    fn record_product(
        &mut self,
        id: ProductId,
        call: product::Call,
        invoked: Duration,
        response: Option<(Duration, ApiResponse)>,
    ) -> Option<()> {
        let response = response.map(|(at, response)| (at, product_response(&response)));
        if let Some((_, product::Response::Shown { version, .. })) = &response {
            self.product_versions.insert(id, *version);
        }
        let has_response = response.is_some();
        let operation = Operation { client: self.number, call, invoked, response };
        self.products.histories.lock().unwrap().of(id).product.push(operation);
        has_response.then_some(())
    }

    async fn stock(
        &mut self,
        id: ProductId,
        call: stock::Call,
        request: reqwest::RequestBuilder,
    ) -> Option<()> {
        let invoked = self.products.now();
        let response = complete_response(request).await.ok();
        // The product is deleted, and the response says nothing about its stock.
        if response.as_ref().is_some_and(|response| response.status == 404) {
            return Some(());
        }
        let response = response.map(|response| (self.products.now(), stock_response(&response)));
        if let Some((_, stock::Response::Shown { version, .. })) = &response {
            self.stock_versions.insert(id, *version);
        }
        let has_response = response.is_some();
        let operation = Operation { client: self.number, call, invoked, response };
        self.products.histories.lock().unwrap().of(id).stock.push(operation);
        has_response.then_some(())
    }

    /// Reads one product as a buyer.
    async fn get_listing(&mut self, address: &Address, id: ProductId, min_version: Option<i64>) {
        let url = format!("{}/v1/catalog/products/{id}", address.url);
        let request = self.http.get(with_version(url, min_version));
        let invoked = self.products.now();
        // A 503 says that the version has not arrived yet. It carries no information to record.
        let Ok(response) = complete_response(request).await else { return };
        let responded = self.products.now();
        let kind = ReadKind::ById { min_version };
        let seen = seen(&response);
        let read = BuyerRead { client: self.number, invoked, responded, kind, seen };
        let mut histories = self.products.histories.lock().unwrap();
        histories.of(id).record_read(read, response.json["available"].as_i64());
    }

    /// Reads a list as a buyer.
    async fn list(&mut self, address: &Address) {
        let url = format!("{}/v1/catalog/products?category={CATEGORY}", address.url);
        let invoked = self.products.now();
        let Ok(response) = complete_response(self.http.get(url)).await else { return };
        let responded = self.products.now();
        assert_eq!(response.status, 200, "{}", response.text);
        let mut histories = self.products.histories.lock().unwrap();
        for card in response.json["data"].as_array().unwrap() {
            let (client, kind, seen) = (self.number, ReadKind::List, listed(card));
            let id = card["id"].as_str().unwrap().parse().unwrap();
            histories
                .of(id)
                .record_read(BuyerRead { client, invoked, responded, kind, seen }, None);
        }
    }
}

fn expecting(request: reqwest::RequestBuilder, version: Option<i64>) -> reqwest::RequestBuilder {
    let tag = version.map_or_else(|| "*".to_owned(), |version| format!("\"v{version}\""));
    request.header("if-match", tag)
}

pub(crate) fn with_version(url: String, min_version: Option<i64>) -> String {
    match min_version {
        Some(version) => format!("{url}?min_version={version}"),
        None => url,
    }
}

pub(crate) fn product_response(response: &ApiResponse) -> product::Response {
    let product = &response.json;
    match response.status {
        200 | 201 => product::Response::Shown {
            version: product["version"].as_i64().unwrap(),
            name: product["name"].as_str().unwrap().to_owned(),
        },
        204 => product::Response::Done,
        404 => product::Response::NotFound,
        412 => product::Response::Stale,
        _ => panic!("not a response about a product: {response:#?}"),
    }
}

pub(crate) fn stock_response(response: &ApiResponse) -> stock::Response {
    let stock = &response.json;
    match response.status {
        200 => stock::Response::Shown {
            version: stock["version"].as_i64().unwrap(),
            on_hand: stock["on_hand"].as_i64().unwrap(),
        },
        412 => stock::Response::Stale,
        _ => panic!("not a response about a stock: {response:#?}"),
    }
}

/// What a buyer's read of one product showed.
pub(crate) fn seen(response: &ApiResponse) -> Seen {
    match response.status {
        200 => listed(&response.json),
        404 => Seen::Absent,
        _ => panic!("not a response about a listing: {response:#?}"),
    }
}

fn listed(listing: &Value) -> Seen {
    Seen::Listed {
        version: listing["version"].as_i64().unwrap(),
        name: listing["name"].as_str().unwrap().to_owned(),
    }
}
