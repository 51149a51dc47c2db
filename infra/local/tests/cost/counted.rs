//! The real way of a change and of a page, with everything counted that AWS would charge for.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use catalog::Projector;
use chrono::DateTime;
use inventory::relay::Relay;
use serde_json::{Value, json};
use shared::bus::queue::{Outcome, Queue};
use shared::bus::{self, Bus, PgBus};
use shared::clock::Clock;
use shared::contract::events::{self, Received};
use shared::host;
use shared::host::intake::{Delivery, Handler as _};
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::Ids;
use testkit::{
    Call, Calls, Charged, TestDatabase, TestDynamo, Tokens, counted_dynamodb, database, dynamodb,
};
use uuid::Uuid;

const TABLE: &str = "listings";
const QUEUE: &str = "catalog";

/// What EventBridge and SQS count as one, in bytes.
const CHUNK: i64 = 65_536;

/// Categories among which products are spread.
const CATEGORIES: usize = 5;

/// What was asked of AWS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Requests that came in, each an invocation of its own.
    pub(crate) requests: u64,
    /// What EventBridge is given, in chunks of 64 KiB.
    pub(crate) events: u64,
    pub(crate) event_bytes: u64,
    /// Batches that the projector is invoked with.
    pub(crate) batches: u64,
    /// By operation.
    pub(crate) dynamodb: BTreeMap<String, Charged>,
    /// What was answered, in bytes.
    pub(crate) answer_bytes: u64,
}

impl Asked {
    /// Of listings; a new category is noted in an item of its own, once.
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

    fn units(&self, is_meant: impl Fn(&str) -> bool) -> f64 {
        let meant = self.dynamodb.iter().filter(|(operation, _)| is_meant(operation));
        // Not a sum: that of nothing is less than nothing, and is shown so.
        meant.fold(0.0, |units, (_, charged)| units + charged.units)
    }
}

fn is_write(operation: &str) -> bool {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => true,
        "GetItem" | "BatchGetItem" | "Query" => false,
        // Nobody has thought yet of what it costs.
        other => panic!("{other} is neither known to read nor to write"),
    }
}

/// The roles of an edition over real stores, and between the catalogue and its store the count.
pub(crate) struct World {
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

impl World {
    pub(crate) async fn start() -> Self {
        let database = database(&[&bus::MIGRATOR, &inventory::MIGRATOR]).await;
        let pool = database.pool.clone();
        let dynamo = dynamodb().await;
        catalog::table::ensure(&dynamo.client, TABLE).await.unwrap();
        let calls = Calls::default();
        let client = counted_dynamodb(&dynamo.client, &calls);
        // Always the same ids and times, so that documents are always of the same length.
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 123_456_789).unwrap());
        let ids = Ids::seeded(1);
        let tokens = Tokens::new(clock.clone());
        let token = tokens.token(Uuid::from_u128(0x005e_11e5), Role::Seller);
        let inventory =
            inventory::App::new(pool.clone(), &clock, &ids, tokens.verifier(), Arc::default());
        // Without the pages that it keeps: what is asked for is never what was asked for just now.
        let catalogue = catalog::App::new(client.clone(), TABLE, "BRL".parse().unwrap());
        let router = inventory::router(inventory).merge(catalog::router(catalogue));
        let router = host::server::dress(router, &clock, &ids);
        let bus = PgBus::new(pool.clone(), clock.clone(), &[QUEUE], Arc::default());
        let relay = Relay::new(pool.clone(), Bus::Postgres(bus), clock.clone(), ids);
        let queue = Queue::new(pool, clock.clone(), QUEUE);
        let projector = Projector::new(client, TABLE, clock.clone());
        Self { router, relay, queue, projector, clock, calls, token, database, _dynamo: dynamo }
    }

    /// Creates products one by one and brings each to its listing, in batches of `batch`.
    pub(crate) async fn creates(&self, count: usize, batch: i64) -> Asked {
        let mut asked = Asked::default();
        for _ in 0..count {
            let product = product(asked.requests);
            let created = self.send(Call::post("/v1/products").json(&product), &mut asked).await;
            assert!(created["id"].is_string(), "{created}");
        }
        self.propagate(batch, &mut asked).await;
        assert_eq!(asked.events, u64::try_from(count).unwrap(), "events are larger than a chunk");
        let noted = asked.dynamodb.get("UpdateItem").map_or(0, |update| update.calls);
        assert!(noted <= CATEGORIES as u64, "a category is written more than once: {noted}");
        asked
    }

    /// Takes one piece each of as many products off the shelves, which changes their stock alone.
    pub(crate) async fn sales(&self, count: usize, batch: i64) -> Asked {
        let mut asked = Asked::default();
        for id in self.ids(count).await {
            let path = format!("/v1/products/{id}/stock/adjustments");
            let by = json!({"delta": -1, "reason": "sold"});
            self.send(Call::post(&path).json(&by), &mut asked).await;
        }
        self.propagate(batch, &mut asked).await;
        asked
    }

    /// Changes the price of as many products.
    pub(crate) async fn changes(&self, count: usize, batch: i64) -> Asked {
        let mut asked = Asked::default();
        for id in self.ids(count).await {
            let change = Call::patch(&format!("/v1/products/{id}"))
                .header("if-match", "*")
                .header("content-type", "application/merge-patch+json")
                .bytes(json!({"price": {"amount": 9_990}}).to_string());
            self.send(change, &mut asked).await;
        }
        self.propagate(batch, &mut asked).await;
        asked
    }

    /// Reads as many products by their ids.
    pub(crate) async fn products(&self, count: usize) -> Asked {
        let ids = self.ids(count).await;
        let mut asked = Asked::default();
        for id in ids {
            self.send(Call::get(&format!("/v1/catalog/products/{id}")), &mut asked).await;
        }
        asked.dynamodb = self.calls.take();
        asked
    }

    async fn ids(&self, count: usize) -> Vec<String> {
        let mut unasked = Asked::default();
        let products = self.send(Call::get("/v1/products?limit=100"), &mut unasked).await;
        self.calls.take();
        let products = products["data"].as_array().unwrap();
        assert!(products.len() >= count);
        products[..count].iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks for the same page over and over, as if no cache knew it.
    pub(crate) async fn pages(&self, count: usize, path: &str) -> Asked {
        let mut asked = Asked::default();
        for _ in 0..count {
            let page = self.send(Call::get(path), &mut asked).await;
            assert_eq!(page["data"].as_array().unwrap().len(), 20, "{page}");
        }
        asked.dynamodb = self.calls.take();
        asked
    }

    pub(crate) async fn end(self) {
        self.database.remove().await;
    }

    async fn send(&self, call: Call, asked: &mut Asked) -> Value {
        let answer = call.bearer(&self.token).send(&self.router).await;
        assert!(answer.status.is_success(), "{answer:?}");
        asked.requests += 1;
        asked.answer_bytes += answer.text.len() as u64;
        answer.json
    }

    /// Relays what was committed, and projects it as the event source of a function would have it done.
    async fn propagate(&self, batch: i64, asked: &mut Asked) {
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
        asked.events = chunks.try_into().unwrap();
        asked.event_bytes = bytes.try_into().unwrap();
        self.calls.take();
        loop {
            let messages = self.queue.receive(batch).await.unwrap();
            if messages.is_empty() {
                break;
            }
            let received_at = self.clock.now();
            let read = |body: &str| match events::read(body).unwrap() {
                Received::Known(envelope) => Delivery { envelope: *envelope, received_at },
                Received::Unknown { type_name } => panic!("{type_name} is not known"),
            };
            let deliveries: Vec<_> = messages.iter().map(|message| read(&message.body)).collect();
            for result in self.projector.handle(&deliveries).await {
                result.unwrap();
            }
            asked.batches += 1;
            let done = messages.into_iter().map(|message| (message, Outcome::Done));
            self.queue.settle(done.collect()).await.unwrap();
        }
        asked.dynamodb = self.calls.take();
    }
}

/// What a shop sells: a description of some sentences, a few attributes, an image or two.
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
