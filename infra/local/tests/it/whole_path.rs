//! One seed drives everything: requests over HTTP, the relay, a bus that fails, crashes between
//! any two effects of the projector, and readers. After quiet, every listing must equal its
//! product, field by field, and no reader may have seen a version go backwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use inventory::relay::Relay;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::auth::Role;
use shared::bus::faulty::FaultyBus;
use shared::bus::queue::Queue;
use shared::bus::{self, Bus, PgBus};
use shared::clock::Clock;
use shared::host;
use shared::host::intake::{self, Delivery, Failure, Handler};
use shared::host::tick::Progress;
use shared::id::Ids;
use shared::testkit::{TestDatabase, TestDynamo, Tokens, database, dynamodb};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::described;

/// How many seeds are tried.
const SEEDS: u64 = 200;

/// Steps of one seed: requests, and rounds of background work.
const STEPS: usize = 80;

const SELLER: Uuid = Uuid::from_u128(0x005e_11e5);

struct World {
    http: reqwest::Client,
    url: String,
    token: String,
    clock: Clock,
    bus: Arc<FaultyBus>,
    relay: Relay,
    queue: Queue,
    projector: catalog::Projector,
    catalogue: catalog::App,
    rng: StdRng,
    /// Ids of all products there ever were, with the versions that the last write answered.
    products: Vec<Uuid>,
    /// The greatest version that a reader has seen.
    seen: HashMap<Uuid, i64>,
    skus: u32,
    database: TestDatabase,
    _dynamo: TestDynamo,
    _stop: DropGuard,
}

impl World {
    async fn new(seed: u64) -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR]).await;
        let dynamo = dynamodb().await;
        catalog::table::ensure(&dynamo.client, "listings").await.unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let ids = Ids::seeded(seed);
        let tokens = Tokens::new(clock.clone());
        let pool = database.pool.clone();
        let inventory =
            inventory::App::new(pool.clone(), &clock, &ids, tokens.verifier(), Arc::default());
        let brl = "BRL".parse().unwrap();
        let catalogue = catalog::App::new(dynamo.client.clone(), "listings", brl);
        let router = inventory::router(inventory).merge(catalog::router(catalogue.clone()));
        let router = host::http::dress(router, &clock, &ids);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(host::http::serve(listener, router, stop.clone()));
        let pg_bus = PgBus::new(pool.clone(), clock.clone(), &["catalog"], Arc::default());
        let bus = Arc::new(FaultyBus::new(pg_bus, seed, 40));
        let relay =
            Relay::new(pool.clone(), Bus::Faulty(Arc::clone(&bus)), clock.clone(), ids.clone());
        let queue = Queue::new(pool, clock.clone(), "catalog");
        let projector = catalog::Projector::new(dynamo.client.clone(), "listings", clock.clone());
        Self {
            http: reqwest::Client::new(),
            url,
            token: tokens.with_claims(json!({
                "sub": SELLER, "roles": [Role::Seller.as_str()], "exp": 4_000_000_000_i64
            })),
            clock,
            bus,
            relay,
            queue,
            projector,
            catalogue,
            rng: StdRng::seed_from_u64(seed),
            products: Vec::new(),
            seen: HashMap::new(),
            skus: 0,
            database,
            _dynamo: dynamo,
            _stop: stop.drop_guard(),
        }
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = described::send(request).await;
        assert!(answer.status < 500, "{path}: {}", answer.text);
        (answer.status, answer.json)
    }

    /// One step: something that a seller, a buyer or the machinery does.
    async fn step(&mut self) {
        use reqwest::Method;
        self.clock.advance(Duration::from_millis(self.rng.random_range(1..3_000)));
        let one = self.products.choose(&mut self.rng).copied();
        match (self.rng.random_range(0..100), one) {
            (0..15, _) | (_, None) => self.create().await,
            (15..35, Some(id)) => {
                let patch = self.patch();
                let path = format!("/v1/products/{id}");
                self.send(Method::PATCH, &path, Some("*"), Some(patch)).await;
            }
            (35..42, Some(id)) => {
                self.send(Method::DELETE, &format!("/v1/products/{id}"), Some("*"), None).await;
            }
            (42..48, Some(id)) => {
                let path = format!("/v1/products/{id}/restore");
                self.send(Method::POST, &path, None, None).await;
            }
            (48..56, Some(id)) => {
                let on_hand = json!({"on_hand": self.rng.random_range(0..3)});
                let path = format!("/v1/products/{id}/stock");
                self.send(Method::PUT, &path, Some("*"), Some(on_hand)).await;
            }
            (56..72, _) => {
                // A round may fail as a whole; what was pending is pending then.
                let _ = self.relay.once().await;
            }
            (72..90, _) => self.intake().await,
            (_, Some(id)) => self.read(id).await,
        }
    }

    async fn create(&mut self) {
        self.skus += 1;
        let status = if self.rng.random_bool(0.8) { "active" } else { "draft" };
        let body = json!({
            "sku": format!("SKU-{}", self.skus), "name": format!("Product {}", self.skus),
            "category": (["shoes", "hats", "toys"].choose(&mut self.rng).unwrap()),
            "attributes": {"size": self.rng.random_range(30..50), "weight": 0.5, "new": true},
            "price": {"amount": self.rng.random_range(0..10_000), "currency": "BRL"},
            "stock": {"on_hand": self.rng.random_range(0..3)}, "status": status,
        });
        let (status, product) =
            self.send(reqwest::Method::POST, "/v1/products", None, Some(body)).await;
        assert_eq!(status, 201, "{product}");
        self.products.push(product["id"].as_str().unwrap().parse().unwrap());
    }

    fn patch(&mut self) -> Value {
        match self.rng.random_range(0..5) {
            0 => json!({"name": format!("Renamed {}", self.rng.random_range(0..1_000))}),
            1 => json!({"price": {"amount": self.rng.random_range(0..10_000)}}),
            2 => json!({"category": (["shoes", "hats", "bags"].choose(&mut self.rng).unwrap())}),
            3 => {
                json!({"status": (["draft", "active", "archived"].choose(&mut self.rng).unwrap())})
            }
            _ => json!({"attributes": {"size": null, "weight": 0.125}, "description": "New"}),
        }
    }

    /// One batch, which may end at any point between two effects.
    async fn intake(&mut self) {
        match self.rng.random_range(0..4) {
            // Received, and then nothing: it comes again after the visibility timeout.
            0 => drop(self.queue.receive(self.rng.random_range(1..5)).await.unwrap()),
            // Written, and never acknowledged.
            1 => {
                let amnesiac = Amnesiac(&self.projector);
                intake::once(&self.queue, &self.clock, &amnesiac).await.unwrap();
            }
            _ => drop(intake::once(&self.queue, &self.clock, &self.projector).await.unwrap()),
        }
    }

    /// A buyer reads a product by its id.
    async fn read(&mut self, id: Uuid) {
        let path = format!("/v1/catalog/products/{id}");
        let (status, product) = self.send(reqwest::Method::GET, &path, None, None).await;
        if status == 200 {
            let version = product["version"].as_i64().unwrap();
            let seen = self.seen.entry(id).or_default();
            assert!(*seen <= version, "{id} went back from {seen} to {version}");
            *seen = version;
        } else if let Some(listing) = self.catalogue.find_listing(id).await.unwrap() {
            // A reader who was told that it is gone must not see a version from before.
            let seen = self.seen.entry(id).or_default();
            assert!(*seen <= listing.product_version, "{id} went back behind its deletion");
            *seen = listing.product_version;
        }
    }

    /// No more faults: everything that was committed arrives.
    async fn quiet(&mut self) -> u32 {
        let faults = self.bus.calm().await.unwrap();
        while self.pending().await > 0 {
            self.clock.advance(Duration::from_secs(1));
            self.relay.once().await.unwrap();
        }
        while self.queue.depth().await.unwrap().visible > 0
            || self.queue.depth().await.unwrap().in_flight > 0
        {
            self.clock.advance(Duration::from_mins(1));
            while intake::once(&self.queue, &self.clock, &self.projector).await.unwrap()
                == Progress::More
            {}
        }
        faults
    }

    async fn pending(&self) -> i64 {
        let pool = &self.database.pool;
        sqlx::query_scalar("select count(*) from inventory.outbox").fetch_one(pool).await.unwrap()
    }

    /// Every product and its listing, field by field.
    async fn compare(&mut self) {
        let mut listed = 0;
        for id in self.products.clone() {
            self.read(id).await;
            let (status, product) =
                self.send(reqwest::Method::GET, &format!("/v1/products/{id}"), None, None).await;
            let (_, stock) = self
                .send(reqwest::Method::GET, &format!("/v1/products/{id}/stock"), None, None)
                .await;
            let path = format!("/v1/catalog/products/{id}");
            let (shown, mut listing) = self.send(reqwest::Method::GET, &path, None, None).await;
            if status != 200 || product["status"] != "active" {
                assert_eq!(shown, 404, "{id} is in the catalogue: {listing}");
                continue;
            }
            listed += 1;
            assert_eq!(shown, 200, "{id} is not in the catalogue: {product}");
            assert_eq!(listing["available"], stock["available"], "{id}");
            let fields = listing.as_object_mut().unwrap();
            let in_stock = fields.remove("in_stock").unwrap();
            assert_eq!(in_stock, stock["available"].as_i64().unwrap() > 0);
            fields.remove("available");
            let mut expected = product.clone();
            expected.as_object_mut().unwrap().remove("status");
            assert_eq!(listing, expected);
            self.is_in_its_list(id, &product, &in_stock).await;
        }
        let (_, all) =
            self.send(reqwest::Method::GET, "/v1/catalog/products?limit=100", None, None).await;
        assert_eq!(all["data"].as_array().unwrap().len(), listed);
    }

    async fn is_in_its_list(&self, id: Uuid, product: &Value, in_stock: &Value) {
        let category = product["category"].as_str().unwrap();
        let amount = &product["price"]["amount"];
        let path = format!(
            "/v1/catalog/products?category={category}&sort=price&price_min={amount}\
             &price_max={amount}&in_stock={in_stock}&limit=100"
        );
        let (_, list) = self.send(reqwest::Method::GET, &path, None, None).await;
        let found = list["data"].as_array().unwrap().iter().find(|card| card["id"] == json!(id));
        let card = found.unwrap_or_else(|| panic!("{id} is not in {path}"));
        assert_eq!(card["version"], product["version"]);
        assert_eq!(card["name"], product["name"]);
        assert_eq!(card["price"], product["price"]);
    }
}

/// Does the work, and is then forgotten to have done it.
struct Amnesiac<'a>(&'a catalog::Projector);

impl Handler for Amnesiac<'_> {
    async fn handle(&self, deliveries: &[Delivery]) -> Vec<Result<(), Failure>> {
        let done = self.0.handle(deliveries).await;
        let lost = Failure::Unavailable("planted: the acknowledgement was lost".to_owned());
        done.into_iter().map(|result| result.and(Err(lost.clone()))).collect()
    }
}

#[tokio::test]
async fn after_quiet_every_listing_equals_its_product_whatever_went_wrong() {
    let mut faults = 0;
    for seed in 0..SEEDS {
        let run = async move {
            let mut world = World::new(seed).await;
            for _ in 0..STEPS {
                world.step().await;
            }
            let faults = world.quiet().await;
            let dead = world.queue.depth().await.unwrap().dead_letters;
            assert_eq!(dead, 0, "dead letters");
            world.compare().await;
            faults
        };
        faults += tokio::spawn(run).await.unwrap_or_else(|_| panic!("failed with seed {seed}"));
    }
    assert!(faults > 2_000, "only {faults} faults in {SEEDS} seeds: what did this test?");
}
