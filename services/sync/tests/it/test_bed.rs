//! Both stores and everything between them; each step runs only when a test asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use catalog::Projector;
use chrono::DateTime;
use inventory::relay::Relay;
use serde_json::{Value, json};
use shared::bus::Bus;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{PgBus, Queue, Queues};
use shared::clock::Clock;
use shared::contract::routes::ROUTES;
use shared::contract::sync_feed::bucket_of;
use shared::host::intake;
use shared::host::server::with_standard_layers;
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::{Ids, ProductId, RunId, UserId};
use sync::{App, Listings, Reconciler, Run, Settings};
use testkit::{Call, Calls, PATIENT_RELAY, TestDatabase, TestDynamo, TestResponse, Tokens};
use testkit::{database, dynamodb, stale_dynamodb};
use tokio_util::sync::CancellationToken;

/// The most rounds that a run takes during concurrent writes.
const MAX_ROUNDS: u32 = 10;

pub(crate) const TABLE: &str = "listings";
pub(crate) const SELLER: UserId = UserId::from_u128(0x5e11);
pub(crate) const RECONCILIATIONS: &str = "/v1/admin/reconciliations";
pub(crate) const DEAD_LETTERS: &str = "/v1/admin/dead-letters";
pub(crate) const OPERATOR: UserId = UserId::from_u128(0x09e4);

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) struct TestBed {
    pub(crate) database: TestDatabase,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) tokens: Tokens,
    pub(crate) reconciler: Reconciler,
    seller_api: Router,
    operators_api: Router,
    relay: Relay,
    queue: Queue,
    projector: Projector,
    pub(crate) dynamo: TestDynamo,
    /// What stale reads see.
    _replica: Option<TestDynamo>,
}

/// No grace, since events move only when a test moves them; pages so small that buckets have several.
pub(crate) fn settings() -> Settings {
    Settings { grace: Duration::ZERO, page: 2, concurrency: 8, ..Settings::default() }
}

impl TestBed {
    pub(crate) async fn new() -> Self {
        let dynamo = dynamodb().await;
        let client = dynamo.client.clone();
        Self::over(dynamo, client, None).await
    }

    /// As [`TestBed::new`], with services whose eventually consistent reads are stale.
    pub(crate) async fn lagging(calls: &Calls) -> Self {
        let (dynamo, replica) = (dynamodb().await, dynamodb().await);
        catalog::table::ensure(&replica.client, TABLE).await.unwrap();
        let client = stale_dynamodb(&dynamo.client, &replica.endpoint, calls);
        Self::over(dynamo, client, Some(replica)).await
    }

    /// Services that reach the store by `client`.
    async fn over(dynamo: TestDynamo, client: Client, replica: Option<TestDynamo>) -> Self {
        let database =
            database(&[&shared::bus::MIGRATOR, &inventory::MIGRATOR, &sync::MIGRATOR]).await;
        catalog::table::ensure(&dynamo.client, TABLE).await.unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_790_000_000, 0).unwrap());
        let ids = Ids::seeded(7);
        let tokens = Tokens::new(clock.clone());
        let pool = database.pool.clone();
        let seller_api = inventory::router(inventory::App::new(
            pool.clone(),
            &clock,
            &ids,
            tokens.verifier(),
            Arc::default(),
        ));
        let seller_api = with_standard_layers(seller_api, &clock, &ids);
        let bus = PgBus::new(pool.clone(), clock.clone(), ROUTES);
        let bus = Bus::Postgres(bus);
        let relay =
            Relay::new(pool.clone(), bus, clock.clone(), ids.clone()).with_timeouts(PATIENT_RELAY);
        let queue = Queue::new(pool.clone(), clock.clone(), "catalog");
        let projector = Projector::new(client.clone(), TABLE, clock.clone());
        let reconciler =
            Reconciler::new(pool.clone(), client.clone(), TABLE, clock.clone(), ids.clone())
                .with_queue(queue.clone())
                .with_settings(settings());
        let operators_api = sync::router(App::new(
            pool.clone(),
            &clock,
            &ids,
            tokens.verifier(),
            Listings::new(client, TABLE),
            DeadLetters::Postgres(Queues::new(pool, clock.clone(), ROUTES)),
        ));
        let operators_api = with_standard_layers(operators_api, &clock, &ids);
        Self {
            database,
            client: dynamo.client.clone(),
            clock,
            ids,
            tokens,
            reconciler,
            seller_api,
            operators_api,
            relay,
            queue,
            projector,
            dynamo,
            _replica: replica,
        }
    }

    /// Creates `count` products and lists them.
    pub(crate) async fn with_products(count: usize) -> (Self, Vec<ProductId>) {
        let bed = Self::new().await;
        let mut ids = Vec::with_capacity(count);
        for nth in 0..count {
            ids.push(bed.create(&format!("SKU-{nth}"), "shoes").await);
        }
        bed.arrive().await;
        (bed, ids)
    }

    /// A product with two dead letters: its creation, and a count of its stock a minute later.
    pub(crate) async fn with_dead_letters() -> (Self, ProductId) {
        let bed = Self::new().await;
        let id = bed.create("SKU-0", "shoes").await;
        bed.make_dead_letters().await;
        bed.clock.advance(Duration::from_mins(1));
        bed.set_stock(id, 9).await;
        bed.make_dead_letters().await;
        (bed, id)
    }

    /// Sends a request as a seller.
    async fn ask(&self, call: Call, body: Value) -> TestResponse {
        let token = self.tokens.token(SELLER, Role::Seller);
        let call = call.bearer(&token).header("if-match", "*").json(&body);
        call.send(&self.seller_api).await
    }

    /// Sends a request to the operators' API with a token of a role.
    pub(crate) async fn ask_as(&self, role: Role, call: Call) -> TestResponse {
        let token = self.tokens.token(OPERATOR, role);
        call.bearer(&token).send(&self.operators_api).await
    }

    pub(crate) async fn ask_as_operator(&self, call: Call) -> TestResponse {
        self.ask_as(Role::Operator, call).await
    }

    pub(crate) async fn create(&self, sku: &str, category: &str) -> ProductId {
        let product = json!({
            "sku": sku, "name": "Running shoe", "category": category,
            "attributes": {"size": 42, "weight": 0.25, "vegan": true, "colour": "red"},
            "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
        });
        let response = self.ask(Call::post("/v1/products"), product).await.expect(201);
        response.json["id"].as_str().unwrap().parse().unwrap()
    }

    /// Changes a product by a document that is sent byte for byte.
    pub(crate) async fn change_as_written(&self, id: ProductId, patch: &'static str) {
        let token = self.tokens.token(SELLER, Role::Seller);
        let call = Call::patch(&format!("/v1/products/{id}")).bearer(&token);
        let call = call.header("if-match", "*").header("content-type", "application/json");
        call.bytes(patch).send(&self.seller_api).await.expect(200);
    }

    pub(crate) async fn change(&self, id: ProductId, patch: Value) {
        let call = Call::patch(&format!("/v1/products/{id}"));
        self.ask(call, patch).await.expect(200);
    }

    pub(crate) async fn set_stock(&self, id: ProductId, on_hand: i64) {
        let call = Call::put(&format!("/v1/products/{id}/stock"));
        self.ask(call, json!({"on_hand": on_hand})).await.expect(200);
    }

    pub(crate) async fn delete(&self, id: ProductId) {
        let call = Call::delete(&format!("/v1/products/{id}"));
        self.ask(call, Value::Null).await.expect(204);
    }

    pub(crate) async fn restore(&self, id: ProductId) {
        let call = Call::post(&format!("/v1/products/{id}/restore"));
        self.ask(call, Value::Null).await.expect(200);
    }

    /// Makes the requested repairs and publishes every committed event.
    pub(crate) async fn publish(&self) {
        while self.relay.repair().await.unwrap() == Progress::More {}
        while self.relay.once().await.unwrap() == Progress::More {}
    }

    /// Projects every published event.
    pub(crate) async fn project(&self) {
        while intake::once(&self.queue, &self.clock, &self.projector).await.unwrap()
            == Progress::More
        {}
    }

    /// Makes every event in flight unreadable, so that the projector makes it a dead letter.
    pub(crate) async fn make_dead_letters(&self) {
        self.publish().await;
        let spoil = sqlx::query("update bus.messages set body = '#' || body");
        spoil.execute(&self.database.pool).await.unwrap();
        self.project().await;
    }

    /// Makes redriven messages, which [`Self::make_dead_letters`] made unreadable, readable again.
    pub(crate) async fn mend(&self) {
        let mend = sqlx::query("update bus.messages set body = substr(body, 2)");
        mend.execute(&self.database.pool).await.unwrap();
    }

    /// The dead letters as the operators' API lists them.
    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        let listed = self.ask_as_operator(Call::get(DEAD_LETTERS)).await.expect(200);
        listed.json["data"].as_array().unwrap().clone()
    }

    /// Actor, action and dead letter of each row of the audit.
    pub(crate) async fn audit(&self) -> Vec<(String, String, i64)> {
        let audit = "select actor, action, dead_letter_id from bus.dead_letter_audit order by 3";
        sqlx::query_as(audit).fetch_all(&self.database.pool).await.unwrap()
    }

    /// Delivers every event in flight.
    pub(crate) async fn arrive(&self) {
        self.publish().await;
        self.project().await;
        assert_eq!(self.queue.depth().await.unwrap().oldest_sent_at, None);
    }

    /// Requests a run and completes it in one round.
    pub(crate) async fn reconcile(&self, deep: bool) -> Run {
        let id = self.reconciler.request(OPERATOR, deep).await.unwrap();
        self.round().await;
        let run = self.run(id).await;
        assert!(run.finished_at.is_some(), "{run:?}");
        run
    }

    /// Requests a run and completes it in one round that compares only the buckets of these products.
    pub(crate) async fn reconcile_products(&self, ids: &[ProductId], deep: bool) -> Run {
        let run = self.reconciler.request(OPERATOR, deep).await.unwrap();
        self.skip_other_buckets(run, ids).await;
        self.round().await;
        let run = self.run(run).await;
        assert!(run.finished_at.is_some(), "{run:?}");
        run
    }

    /// Marks every bucket as done for a run, except those of these products.
    pub(crate) async fn skip_other_buckets(&self, run: RunId, ids: &[ProductId]) {
        let left: Vec<i32> = ids.iter().map(|id| i32::from(bucket_of(*id))).collect();
        sqlx::query("update sync.buckets set run_id = $1, done = true where bucket <> all($2)")
            .bind(run)
            .bind(left)
            .execute(&self.database.pool)
            .await
            .unwrap();
    }

    /// Requests a run and completes it during concurrent writes. They may fill a page with candidates;
    /// then the next round resumes the bucket if this one has just run out of buckets to claim.
    pub(crate) async fn reconcile_during_writes(&self, deep: bool) -> Run {
        let id = self.reconciler.request(OPERATOR, deep).await.unwrap();
        for _ in 0..MAX_ROUNDS {
            self.round().await;
            let run = self.run(id).await;
            if run.finished_at.is_some() {
                return run;
            }
        }
        panic!("unfinished after {MAX_ROUNDS} rounds: {:?}", self.run(id).await);
    }

    /// Marks all buckets but these as compared by a run: a whole pass takes seconds.
    pub(crate) async fn leave_only(&self, id: RunId, buckets: &[i32]) {
        let mark = "update sync.buckets set run_id = $1, done = true where bucket <> all($2)";
        let mark = sqlx::query(mark).bind(id).bind(buckets);
        let marked = mark.execute(&self.database.pool).await.unwrap().rows_affected();
        let count = sqlx::query("update sync.runs set buckets_done = $2 where id = $1");
        let count = count.bind(id).bind(i32::try_from(marked).unwrap());
        count.execute(&self.database.pool).await.unwrap();
    }

    pub(crate) async fn round(&self) {
        let stop = CancellationToken::new();
        self.reconciler.once(&stop).await.unwrap();
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.reconciler.find_run(id).await.unwrap().unwrap()
    }

    pub(crate) fn key(id: ProductId) -> Item {
        HashMap::from([
            ("bucket".to_owned(), AttributeValue::N(bucket_of(id).to_string())),
            ("id".to_owned(), AttributeValue::S(id.to_string())),
        ])
    }

    pub(crate) async fn listing(&self, id: ProductId) -> Option<Item> {
        let request = self.client.get_item().table_name(TABLE).set_key(Some(Self::key(id)));
        request.send().await.unwrap().item
    }

    /// The content of a listing without the attributes that tell how it came about.
    pub(crate) async fn content(&self, id: ProductId) -> Option<Item> {
        let mut item = self.listing(id).await?;
        for name in ["hops", "product_position", "stock_position"] {
            item.remove(name);
        }
        Some(item)
    }

    /// The versions of product and stock in a listing; 0 if absent.
    pub(crate) async fn versions(&self, id: ProductId) -> [i64; 2] {
        let item = self.listing(id).await.unwrap_or_default();
        ["product_version", "stock_version"].map(|name| {
            let version = item.get(name).and_then(|value| value.as_n().ok());
            version.map_or(0, |version| version.parse().unwrap())
        })
    }

    /// Checks that a listing has what the seller's API returns.
    pub(crate) async fn check_listing(&self, id: ProductId) {
        let token = self.tokens.token(SELLER, Role::Seller);
        let path = format!("/v1/products/{id}");
        let product = Call::get(&path).bearer(&token).send(&self.seller_api).await;
        let listing = self.listing(id).await.unwrap_or_else(|| panic!("{id} is not listed"));
        if product.status == 404 {
            assert!(listing.contains_key("deleted_at"), "{id} is deleted: {listing:?}");
            return;
        }
        let stock = Call::get(&format!("{path}/stock")).bearer(&token).send(&self.seller_api).await;
        let (product, stock) = (product.expect(200).json, stock.expect(200).json);
        for name in ["name", "content_hash", "sku", "category"] {
            assert_eq!(listing[name], s(product[name].as_str().unwrap()), "{name} of {id}");
        }
        let versions = [&product["version"], &stock["version"]].map(|it| it.as_i64().unwrap());
        assert_eq!(self.versions(id).await, versions, "{id}");
        assert_eq!(listing["on_hand"], n(stock["on_hand"].as_i64().unwrap()), "{id}");
        assert!(!listing.contains_key("deleted_at"), "{id}");
    }

    pub(crate) async fn put(&self, item: Item) {
        let request = self.client.put_item().table_name(TABLE).set_item(Some(item));
        request.send().await.unwrap();
    }

    pub(crate) async fn remove(&self, id: ProductId) {
        let request = self.client.delete_item().table_name(TABLE).set_key(Some(Self::key(id)));
        request.send().await.unwrap();
    }

    /// Changes one attribute of a listing directly in the table.
    pub(crate) async fn overwrite_attribute(
        &self,
        id: ProductId,
        name: &str,
        value: AttributeValue,
    ) {
        let mut item = self.listing(id).await.unwrap();
        item.insert(name.to_owned(), value);
        self.put(item).await;
    }
}

pub(crate) fn n(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}
