//! Runs real changes and page requests, and counts everything that AWS would charge for.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use catalog::Projector;
use chrono::DateTime;
use inventory::relay::Relay;
use serde_json::{Value, json};
use shared::bus::message::Outcome;
use shared::bus::postgres::{PgBus, Queue};
use shared::bus::{self, Bus};
use shared::clock::Clock;
use shared::contract::envelope::{self, Received};
use shared::contract::routes::ROUTES;
use shared::host;
use shared::host::intake::{Delivery, Handler as _};
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::{Ids, UserId};
use testkit::{
    Call, Calls, DynamoUsage, PATIENT_RELAY, TestDatabase, TestDynamo, Tokens, counted_dynamodb,
    database, dynamodb,
};
use uuid::Uuid;

const TABLE: &str = "listings";
const QUEUE: &str = "catalog";

/// EventBridge and SQS bill a payload in chunks of this many bytes.
const CHUNK: i64 = 65_536;

/// Number of categories that the products are spread over.
const CATEGORIES: usize = 5;

/// What a series of operations used of AWS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// HTTP requests. Each is one invocation.
    pub(crate) requests: u64,
    /// Events put on EventBridge, in chunks of 64 KiB.
    pub(crate) events: u64,
    pub(crate) event_bytes: u64,
    /// Batches, each of which is one invocation of the projector.
    pub(crate) batches: u64,
    /// Capacity units and calls, by DynamoDB operation.
    pub(crate) dynamodb: BTreeMap<String, DynamoUsage>,
    /// Bytes of all response bodies.
    pub(crate) response_bytes: u64,
}

impl Usage {
    /// Write units for listings. Adding a new category to its item is left out: it happens once.
    pub(crate) fn write_units(&self) -> f64 {
        self.units(|operation| is_write(operation) && operation != "UpdateItem")
    }

    pub(crate) fn read_units(&self) -> f64 {
        self.units(|operation| !is_write(operation))
    }

    pub(crate) fn reads_of(&self, operation: &str) -> f64 {
        self.dynamodb.get(operation).map_or(0.0, |read| read.units)
    }

    pub(crate) fn puts(&self) -> u64 {
        self.dynamodb.get("PutItem").map_or(0, |put| put.calls)
    }

    fn units(&self, is_counted: impl Fn(&str) -> bool) -> f64 {
        let counted = self.dynamodb.iter().filter(|(operation, _)| is_counted(operation));
        // `sum()` of no floats is -0.0, which would be printed as `-0.00`.
        counted.fold(0.0, |units, (_, charged)| units + charged.units)
    }
}

fn is_write(operation: &str) -> bool {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => true,
        "GetItem" | "BatchGetItem" | "Query" => false,
        // The cost model has no price for it yet.
        other => panic!("add {other} to the reads or to the writes"),
    }
}

/// An edition's services over real stores, with DynamoDB calls of the catalogue counted.
pub(crate) struct CountedEdition {
    router: Router,
    relay: Relay,
    queue: Queue,
    projector: Projector,
    clock: Clock,
    calls: Calls,
    token: String,
    database: TestDatabase,
    _dynamo: TestDynamo,
}

impl CountedEdition {
    pub(crate) async fn start() -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR]).await;
        let pool = database.pool.clone();
        let dynamo = dynamodb().await;
        catalog::table::ensure(&dynamo.client, TABLE).await.unwrap();
        let calls = Calls::default();
        let client = counted_dynamodb(&dynamo.client, &calls);
        // Fixed ids and times keep the length of every document the same.
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 123_456_789).unwrap());
        let ids = Ids::seeded(1);
        let tokens = Tokens::new(clock.clone());
        let token = tokens.token(UserId::from_u128(0x005e_11e5), Role::Seller);
        let inventory =
            inventory::App::new(pool.clone(), &clock, &ids, tokens.verifier(), Arc::default());
        // No page cache: every page request must reach the store.
        let catalogue = catalog::App::new(client.clone(), TABLE, "BRL".parse().unwrap());
        let router = inventory::router(inventory).merge(catalog::router(catalogue));
        let router = host::server::with_standard_layers(router, &clock, &ids);
        let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
        let relay = Relay::new(pool.clone(), Bus::Postgres(bus), clock.clone(), ids)
            .with_timeouts(PATIENT_RELAY);
        let queue = Queue::new(pool, clock.clone(), QUEUE);
        let projector = Projector::new(client, TABLE, clock.clone());
        Self { router, relay, queue, projector, clock, calls, token, database, _dynamo: dynamo }
    }

    /// Creates products one by one and projects them in batches of `batch`.
    pub(crate) async fn creates(&self, count: usize, batch: i64) -> Usage {
        let mut usage = Usage::default();
        for _ in 0..count {
            let product = product(usage.requests);
            let created = self.send(Call::post("/v1/products").json(&product), &mut usage).await;
            assert!(created["id"].is_string(), "{created}");
        }
        self.propagate(batch, &mut usage).await;
        assert_eq!(usage.events, u64::try_from(count).unwrap(), "an event is larger than a chunk");
        let updates = usage.dynamodb.get("UpdateItem").map_or(0, |update| update.calls);
        assert!(updates <= CATEGORIES as u64, "a category is written more than once: {updates}");
        usage
    }

    /// Sells one piece each of `count` products, which changes only their stock.
    pub(crate) async fn sales(&self, count: usize, batch: i64) -> Usage {
        let mut usage = Usage::default();
        for id in self.ids(count).await {
            let path = format!("/v1/products/{id}/stock/adjustments");
            let by = json!({"delta": -1, "reason": "sold"});
            self.send(Call::post(&path).json(&by), &mut usage).await;
        }
        self.propagate(batch, &mut usage).await;
        usage
    }

    /// Changes the price of `count` products.
    pub(crate) async fn changes(&self, count: usize, batch: i64) -> Usage {
        let mut usage = Usage::default();
        for id in self.ids(count).await {
            let change = Call::patch(&format!("/v1/products/{id}"))
                .header("if-match", "*")
                .header("content-type", "application/merge-patch+json")
                .bytes(json!({"price": {"amount": 9_990}}).to_string());
            self.send(change, &mut usage).await;
        }
        self.propagate(batch, &mut usage).await;
        usage
    }

    /// Reads `count` products by id.
    pub(crate) async fn products(&self, count: usize) -> Usage {
        let ids = self.ids(count).await;
        let mut usage = Usage::default();
        for id in ids {
            self.send(Call::get(&format!("/v1/catalog/products/{id}")), &mut usage).await;
        }
        usage.dynamodb = self.calls.take();
        usage
    }

    async fn ids(&self, count: usize) -> Vec<String> {
        let mut ignored = Usage::default();
        let products = self.send(Call::get("/v1/products?limit=100"), &mut ignored).await;
        self.calls.take();
        let products = products["data"].as_array().unwrap();
        assert!(products.len() >= count);
        products[..count].iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Requests the same page `count` times, each time past all caches.
    pub(crate) async fn pages(&self, count: usize, path: &str) -> Usage {
        let mut usage = Usage::default();
        for _ in 0..count {
            let page = self.send(Call::get(path), &mut usage).await;
            assert_eq!(page["data"].as_array().unwrap().len(), 20, "{page}");
        }
        usage.dynamodb = self.calls.take();
        usage
    }

    pub(crate) async fn end(self) {
        self.database.remove().await;
    }

    async fn send(&self, call: Call, usage: &mut Usage) -> Value {
        let response = call.bearer(&self.token).send(&self.router).await;
        assert!(response.status.is_success(), "{response:?}");
        usage.requests += 1;
        usage.response_bytes += response.text.len() as u64;
        response.json
    }

    /// Relays what was committed, and projects it in batches as a Lambda event source would.
    async fn propagate(&self, batch: i64, usage: &mut Usage) {
        while self.relay.once().await.unwrap() == Progress::More {}
        let (chunks, bytes): (i64, i64) = sqlx::query_as(
            "select coalesce(sum((octet_length(body) + $1 - 1) / $1), 0)::bigint,
                    coalesce(sum(octet_length(body)), 0)::bigint
             from bus.messages",
        )
        .bind(CHUNK)
        .fetch_one(&self.database.pool)
        .await
        .unwrap();
        usage.events = chunks.try_into().unwrap();
        usage.event_bytes = bytes.try_into().unwrap();
        self.calls.take();
        loop {
            let messages = self.queue.receive(batch).await.unwrap();
            if messages.is_empty() {
                break;
            }
            let received_at = self.clock.now();
            let read = |body: &str| match envelope::read(body).unwrap() {
                Received::Known(envelope) => Delivery { envelope: *envelope, received_at },
                Received::Unknown { type_name } => panic!("{type_name} is not known"),
            };
            let deliveries: Vec<_> = messages.iter().map(|message| read(&message.body)).collect();
            for result in self.projector.handle(&deliveries).await {
                result.unwrap();
            }
            usage.batches += 1;
            let done = messages.into_iter().map(|message| (message, Outcome::Done));
            self.queue.settle(done.collect()).await.unwrap();
        }
        usage.dynamodb = self.calls.take();
    }
}

/// A typical product: a description of a few sentences and four attributes.
fn product(serial: u64) -> Value {
    let unique = Uuid::from_u128(u128::from(serial)).simple().to_string();
    json!({
        "sku": format!("SHOE-{unique}"),
        "name": "Running shoe for long distances, wide",
        "description": "Light and well cushioned, with a sole that holds on wet stone. The upper is \
            woven in one piece, so that nothing rubs; the heel counter is firm, the toe box wide. \
            Weighs 245 g in size 42. Made of recycled polyester, without leather, and can be resoled.",
        "category": format!("category-{}", usize::try_from(serial).unwrap() % CATEGORIES),
        "attributes": {"colour": "blue", "size": 42, "width": "wide", "waterproof": true},
        "price": {"amount": 12_990 + serial, "currency": "BRL"},
        "status": "active",
        "stock": {"on_hand": 25}
    })
}
