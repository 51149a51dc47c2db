//! Clients who all want the same few products at once, and note what they asked and were answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::histories::{CATEGORY, Notes, ON_HAND};
use super::supervised::{Address, Place};
use super::{BREATH, answered, client};
use crate::history::buyer_reads::{Asked, Seen, Sighting};
use crate::history::{Operation, product, stock};
use crate::openapi::Answer;

/// How many products there are for everybody at a time.
const PRODUCTS: usize = 4;

/// After so many calls a product is left alone, so that its history can be explained in no time.
const LIFE: u32 = 60;

/// Where the contenders meet.
#[derive(Debug)]
pub(crate) struct Arena {
    began: Instant,
    places: Mutex<[Option<(Uuid, u32)>; PRODUCTS]>,
    pub(crate) notes: Mutex<Notes>,
}

impl Default for Arena {
    fn default() -> Self {
        let (places, notes) = (Mutex::default(), Mutex::default());
        Self { began: Instant::now(), places, notes }
    }
}

impl Arena {
    /// The time since the history began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The product in a place, or that somebody is to put a new one there.
    fn pick(&self, place: usize) -> Option<Uuid> {
        let mut places = self.places.lock().unwrap();
        match &mut places[place] {
            Some((id, calls)) if *calls < LIFE => {
                *calls += 1;
                Some(*id)
            }
            free => {
                *free = None;
                None
            }
        }
    }

    fn put(&self, place: usize, id: Uuid) {
        self.places.lock().unwrap()[place] = Some((id, 0));
    }
}

/// One client, a seller and a buyer at once, who has one call under way at a time.
pub(crate) struct Contender {
    number: u32,
    calls: u32,
    rng: StdRng,
    http: reqwest::Client,
    place: Place,
    arena: Arc<Arena>,
    /// The versions that he was last told, of products and of their stocks.
    products: HashMap<Uuid, i64>,
    stocks: HashMap<Uuid, i64>,
}

impl Contender {
    pub(crate) fn new(number: u32, seed: u64, place: Place, arena: &Arc<Arena>) -> Self {
        Self {
            number,
            calls: 0,
            rng: StdRng::seed_from_u64(seed.wrapping_mul(1_000) + u64::from(number)),
            http: client(),
            place,
            arena: Arc::clone(arena),
            products: HashMap::new(),
            stocks: HashMap::new(),
        }
    }

    /// Goes on until it is time to stop.
    pub(crate) async fn contend(mut self) {
        while let Some(address) = self.place.find().await {
            self.calls += 1;
            let place = self.rng.random_range(0..PRODUCTS);
            let Some(id) = self.arena.pick(place) else {
                self.create(place).await;
                continue;
            };
            if self.turn(&address, id).await.is_none() {
                self.find_out(id).await;
            }
        }
    }

    /// Puts a new product into a place. Asks again until the answer is there: the key sees to it
    /// that there is one product.
    async fn create(&mut self, place: usize) {
        let name = self.name();
        let body = json!({
            "sku": name, "name": name, "category": CATEGORY,
            "price": {"amount": 1_000, "currency": "BRL"}, "stock": {"on_hand": ON_HAND},
        });
        let invoked = self.arena.now();
        while let Some(address) = self.place.find().await {
            let request = self.to(&address, Method::POST, "").header("idempotency-key", &name);
            let Some(created) = answered(request.json(&body)).await else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            assert_eq!(created.status, 201, "{}", created.text);
            let id = created.json["id"].as_str().unwrap().parse().unwrap();
            let answer = Some((self.arena.now(), created));
            self.note_product(id, product::Call::Create { name }, invoked, answer);
            self.arena.put(place, id);
            return;
        }
    }

    /// One call of any kind; `None` where the answer to a change was lost.
    async fn turn(&mut self, address: &Address, id: Uuid) -> Option<()> {
        let known = |versions: &HashMap<Uuid, i64>, rng: &mut StdRng| {
            versions.get(&id).copied().filter(|_| rng.random_bool(0.5))
        };
        let if_match = known(&self.products, &mut self.rng);
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
                let if_match = known(&self.stocks, &mut self.rng);
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
                self.look(address, id, if_match).await;
                Some(())
            }
            _ => {
                self.browse(address).await;
                Some(())
            }
        }
    }

    /// Asks what has become of a product until it is told.
    async fn find_out(&mut self, id: Uuid) {
        while let Some(address) = self.place.find().await {
            tokio::time::sleep(BREATH).await;
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

    /// One that nobody else ever gives.
    fn name(&self) -> String {
        format!("c{}-{}", self.number, self.calls)
    }

    async fn product(
        &mut self,
        id: Uuid,
        call: product::Call,
        request: reqwest::RequestBuilder,
    ) -> Option<()> {
        let invoked = self.arena.now();
        let answer = answered(request).await.map(|answer| (self.arena.now(), answer));
        self.note_product(id, call, invoked, answer)
    }

    fn note_product(
        &mut self,
        id: Uuid,
        call: product::Call,
        invoked: Duration,
        answer: Option<(Duration, Answer)>,
    ) -> Option<()> {
        let answer = answer.map(|(at, answer)| (at, product_answer(&answer)));
        if let Some((_, product::Answer::Shown { version, .. })) = &answer {
            self.products.insert(id, *version);
        }
        let told = answer.is_some();
        let operation = Operation { client: self.number, call, invoked, answer };
        self.arena.notes.lock().unwrap().of(id).product.push(operation);
        told.then_some(())
    }

    async fn stock(
        &mut self,
        id: Uuid,
        call: stock::Call,
        request: reqwest::RequestBuilder,
    ) -> Option<()> {
        let invoked = self.arena.now();
        let answer = answered(request).await;
        // Of a deleted product, which says nothing about its stock.
        if answer.as_ref().is_some_and(|answer| answer.status == 404) {
            return Some(());
        }
        let answer = answer.map(|answer| (self.arena.now(), stock_answer(&answer)));
        if let Some((_, stock::Answer::Shown { version, .. })) = &answer {
            self.stocks.insert(id, *version);
        }
        let told = answer.is_some();
        let operation = Operation { client: self.number, call, invoked, answer };
        self.arena.notes.lock().unwrap().of(id).stock.push(operation);
        told.then_some(())
    }

    /// A buyer's look at one product.
    async fn look(&mut self, address: &Address, id: Uuid, min_version: Option<i64>) {
        let url = format!("{}/v1/catalog/products/{id}", address.url);
        let request = self.http.get(with_version(url, min_version));
        let invoked = self.arena.now();
        // That it has not arrived yet is an answer, too, and says nothing.
        let Some(answer) = answered(request).await else { return };
        let answered = self.arena.now();
        let asked = Asked::ById { min_version };
        let seen = seen(&answer);
        let sighting = Sighting { client: self.number, invoked, answered, asked, seen };
        let mut notes = self.arena.notes.lock().unwrap();
        notes.of(id).see(sighting, answer.json["available"].as_i64());
    }

    /// A buyer's look at a list.
    async fn browse(&mut self, address: &Address) {
        let url = format!("{}/v1/catalog/products?category={CATEGORY}", address.url);
        let invoked = self.arena.now();
        let Some(answer) = answered(self.http.get(url)).await else { return };
        let answered = self.arena.now();
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut notes = self.arena.notes.lock().unwrap();
        for card in answer.json["data"].as_array().unwrap() {
            let (client, asked, seen) = (self.number, Asked::List, listed(card));
            let id = card["id"].as_str().unwrap().parse().unwrap();
            notes.of(id).see(Sighting { client, invoked, answered, asked, seen }, None);
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

pub(crate) fn product_answer(answer: &Answer) -> product::Answer {
    let product = &answer.json;
    match answer.status {
        200 | 201 => product::Answer::Shown {
            version: product["version"].as_i64().unwrap(),
            name: product["name"].as_str().unwrap().to_owned(),
        },
        204 => product::Answer::Done,
        404 => product::Answer::NotFound,
        412 => product::Answer::Stale,
        _ => panic!("no product is answered like this: {answer:#?}"),
    }
}

pub(crate) fn stock_answer(answer: &Answer) -> stock::Answer {
    let stock = &answer.json;
    match answer.status {
        200 => stock::Answer::Shown {
            version: stock["version"].as_i64().unwrap(),
            on_hand: stock["on_hand"].as_i64().unwrap(),
        },
        412 => stock::Answer::Stale,
        _ => panic!("no stock is answered like this: {answer:#?}"),
    }
}

/// What a buyer is shown who asks for one product.
pub(crate) fn seen(answer: &Answer) -> Seen {
    match answer.status {
        200 => listed(&answer.json),
        404 => Seen::Nothing,
        _ => panic!("no listing is answered like this: {answer:#?}"),
    }
}

fn listed(listing: &Value) -> Seen {
    Seen::Listed {
        version: listing["version"].as_i64().unwrap(),
        name: listing["name"].as_str().unwrap().to_owned(),
    }
}
