//! All services in this process, over real stores. Each step runs only when a test asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use catalog::Projector;
use chrono::{DateTime, TimeDelta, Utc};
use identity::config::ProviderConfig;
use inventory::relay::Relay;
use serde_json::{Value, json};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{PgBus, Queue, Queues};
use shared::bus::{Bus, BusError, Outbound, Publish, Refused};
use shared::clock::Clock;
use shared::contract::listing::key_of;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::host::intake;
use shared::host::server::with_standard_layers;
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::{Ids, ProductId, UserId};
use sqlx::PgPool;
use sync::{Listings, Reconciler, Settings};
use testkit::{
    Call, Calls, PATIENT_RELAY, TestDatabase, TestDynamo, TestResponse, Tokens, counted_dynamodb,
    database, dynamodb,
};
use uuid::Uuid;

pub(super) const TABLE: &str = "listings";
pub(super) const OPERATOR: UserId = UserId::from_u128(0x09e4);

/// The W3C trace of every request of the seller.
pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

const SELLER: UserId = UserId::from_u128(0x5e11);

pub(super) type Item = HashMap<String, AttributeValue>;

/// A time, in milliseconds after the start of a test.
pub(super) fn at(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::milliseconds(milliseconds)
}

/// One clock for each actor. All are multiples of an eighth of a second, which a double has exactly.
pub(super) struct Clocks {
    /// When a request arrives.
    pub(super) request: Clock,
    /// When the API of inventory commits.
    pub(super) api: Clock,
    /// When the relay publishes.
    pub(super) relay: Clock,
    /// When the bus accepts a message.
    pub(super) bus: Clock,
    /// When the queue hands messages out, and settles them.
    pub(super) queue: Clock,
    /// When the projector's intake receives.
    pub(super) intake: Clock,
    /// When the projector has projected.
    pub(super) projector: Clock,
    pub(super) reconciler: Clock,
    /// When an operator's request is handled.
    pub(super) operator: Clock,
}

impl Clocks {
    fn new() -> Self {
        let clock = |milliseconds| Clock::fixed(at(milliseconds));
        Self {
            request: clock(0),
            api: clock(250),
            relay: clock(1_500),
            bus: clock(1_750),
            queue: clock(2_000),
            intake: clock(2_500),
            projector: clock(2_875),
            reconciler: clock(10_000),
            operator: clock(20_000),
        }
    }
}

pub(super) fn advance(clock: &Clock, milliseconds: u64) {
    clock.advance(Duration::from_millis(milliseconds));
}

pub(super) struct Situation {
    pub(super) database: TestDatabase,
    pub(super) client: Client,
    pub(super) clocks: Clocks,
    pub(super) ids: Ids,
    pub(super) bus: PgBus,
    pub(super) queue: Queue,
    pub(super) projector: Projector,
    pub(super) reconciler: Reconciler,
    /// What the reconciler costs in DynamoDB.
    pub(super) reads: Calls,
    tokens: Tokens,
    pub(super) relay: Relay,
    seller_api: Router,
    inventory_api: Router,
    sync_api: Router,
    _dynamo: TestDynamo,
}

impl Situation {
    /// Empty stores.
    pub(super) async fn new() -> Self {
        let migrators = [&shared::bus::MIGRATOR, &inventory::MIGRATOR, &sync::MIGRATOR];
        let database = database(&migrators).await;
        let pool = database.pool.clone();
        let dynamo = dynamodb().await;
        let client = dynamo.client.clone();
        catalog::table::ensure(&client, TABLE).await.unwrap();
        let (clocks, ids) = (Clocks::new(), Ids::seeded(7));
        let tokens = Tokens::new(Clock::fixed(at(0)));
        let inventory = |clock: &Clock| {
            let verifier = tokens.verifier();
            inventory::router(inventory::App::new(
                pool.clone(),
                clock,
                &ids,
                verifier,
                Arc::default(),
            ))
        };
        let seller_api = with_standard_layers(inventory(&clocks.api), &clocks.request, &ids);
        let inventory_api = inventory(&clocks.operator);
        let bus = PgBus::new(pool.clone(), clocks.bus.clone(), ROUTES);
        let relay =
            Relay::new(pool.clone(), Bus::Postgres(bus.clone()), clocks.relay.clone(), ids.clone())
                .with_timeouts(PATIENT_RELAY);
        let queue = Queue::new(pool.clone(), clocks.queue.clone(), CATALOG_QUEUE);
        let projector = Projector::new(client.clone(), TABLE, clocks.projector.clone());
        let reads = Calls::default();
        let reconciler = Reconciler::new(
            pool.clone(),
            counted_dynamodb(&client, &reads),
            TABLE,
            clocks.reconciler.clone(),
            ids.clone(),
        )
        .with_queue(queue.clone())
        .with_settings(Settings {
            grace: Duration::ZERO,
            max_wait: Duration::ZERO,
            ..Settings::default()
        });
        let sync_api = sync::router(sync::App::new(
            pool.clone(),
            &clocks.operator,
            &ids,
            tokens.verifier(),
            Listings::new(client.clone(), TABLE),
            DeadLetters::Postgres(Queues::new(pool, clocks.operator.clone(), ROUTES)),
        ));
        Self {
            database,
            client,
            clocks,
            ids,
            bus,
            queue,
            projector,
            reconciler,
            reads,
            tokens,
            relay,
            seller_api,
            inventory_api,
            sync_api,
            _dynamo: dynamo,
        }
    }

    /// Sends a request to the seller's API.
    pub(super) async fn sell(&self, call: Call, body: Value) -> TestResponse {
        let token = self.tokens.token(SELLER, Role::Seller);
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let call = call.bearer(&token).header("if-match", "*").header("traceparent", &traceparent);
        call.json(&body).send(&self.seller_api).await
    }

    /// Sends a request as an operator.
    pub(super) async fn operate(&self, operation: &str, call: Call) -> TestResponse {
        let is_outbox = operation.ends_with("/outbox");
        let api = if is_outbox { &self.inventory_api } else { &self.sync_api };
        call.bearer(&self.tokens.token(OPERATOR, Role::Operator)).send(api).await
    }

    pub(super) async fn create(&self, nth: u32) -> ProductId {
        let product = json!({
            "sku": format!("SKU-{nth}"), "name": "Running shoe", "category": "shoes",
            "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
        });
        let created = self.sell(Call::post("/v1/products"), product).await.expect(201);
        created.json["id"].as_str().unwrap().parse().unwrap()
    }

    /// Creates products, each `apart` milliseconds after the one before.
    pub(super) async fn create_many(&self, count: u32, apart: u64) -> Vec<ProductId> {
        let mut ids = Vec::new();
        for nth in 0..count {
            ids.push(self.create(nth).await);
            advance(&self.clocks.api, apart);
        }
        ids
    }

    pub(super) async fn rename(&self, id: ProductId, name: &str) -> TestResponse {
        let call = Call::patch(&format!("/v1/products/{id}"));
        self.sell(call, json!({"name": name})).await.expect(200)
    }

    pub(super) async fn set_stock(&self, id: ProductId, on_hand: i64) -> TestResponse {
        let call = Call::put(&format!("/v1/products/{id}/stock"));
        self.sell(call, json!({"on_hand": on_hand})).await.expect(200)
    }

    /// Publishes every pending event.
    pub(super) async fn publish(&self) {
        while self.relay.once().await.unwrap() == Progress::More {}
    }

    /// Does one requested repair.
    pub(super) async fn repair(&self) {
        assert_eq!(self.relay.repair().await.unwrap(), Progress::More);
    }

    /// Projects every published event.
    pub(super) async fn project(&self) {
        self.project_with(&self.projector).await;
    }

    pub(super) async fn project_with(&self, projector: &Projector) {
        let Clocks { intake, .. } = &self.clocks;
        while intake::once(&self.queue, intake, projector).await.unwrap() == Progress::More {}
    }

    pub(super) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.database.pool).await.unwrap();
    }

    pub(super) async fn execute_for(&self, statement: &'static str, ids: &[ProductId]) {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        sqlx::query(statement).bind(ids).execute(&self.database.pool).await.unwrap();
    }

    /// The id of the event that announced a version.
    pub(super) async fn event_id(&self, id: ProductId, aggregate: &str, version: i64) -> Uuid {
        sqlx::query_scalar(
            "select event_id from inventory.journal
             where aggregate_id = $1 and aggregate = $2 and version = $3",
        )
        .bind(id.uuid())
        .bind(aggregate)
        .bind(version)
        .fetch_one(&self.database.pool)
        .await
        .unwrap()
    }

    pub(super) async fn listing(&self, id: ProductId) -> Item {
        let request = self.client.get_item().table_name(TABLE).set_key(Some(key_of(id)));
        request.send().await.unwrap().item.unwrap()
    }

    pub(super) async fn put_listing(&self, item: Item) {
        let request = self.client.put_item().table_name(TABLE).set_item(Some(item));
        request.send().await.unwrap();
    }

    pub(super) async fn remove_listing(&self, id: ProductId) {
        let request = self.client.delete_item().table_name(TABLE).set_key(Some(key_of(id)));
        request.send().await.unwrap();
    }

    /// Changes one attribute of a listing directly in the table.
    pub(super) async fn overwrite(&self, id: ProductId, name: &str, value: AttributeValue) {
        let mut item = self.listing(id).await;
        item.insert(name.to_owned(), value);
        self.put_listing(item).await;
    }
}

/// A bus that refuses the events about some subjects.
#[derive(Clone)]
pub(super) struct RefusingBus {
    pub(super) inner: PgBus,
    pub(super) refused: Arc<Mutex<Vec<Uuid>>>,
}

impl Publish for RefusingBus {
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        let refused = self.refused.lock().unwrap().clone();
        let is_refused = |event: &Outbound| refused.contains(&event.subject);
        let accepted: Vec<Outbound> =
            events.iter().filter(|event| !is_refused(event)).cloned().collect();
        self.inner.publish(&accepted).await?;
        let result = |event| {
            if is_refused(event) { Err(Refused("planted".to_owned())) } else { Ok(()) }
        };
        Ok(events.iter().map(result).collect())
    }
}

/// The traceparent of a request: the client's trace, and a span that the request id ends in.
pub(super) fn traceparent_of(request: Uuid) -> String {
    let id = request.simple().to_string();
    format!("00-{TRACE}-{}-01", &id[16..])
}

/// An identity provider, and the folder of its key and its mails.
pub(super) fn identity_app(pool: PgPool) -> (tempfile::TempDir, identity::App) {
    let folder = tempfile::tempdir().unwrap();
    let config = ProviderConfig {
        issuer: "http://localhost:8080".to_owned(),
        audience: "vitrina".to_owned(),
        key_file: folder.path().join("key"),
        mail_directory: folder.path().join("mails"),
    };
    let (clock, ids) = (Clock::fixed(at(0)), Ids::seeded(1));
    let app = identity::App::new(&config, pool, clock, ids).unwrap();
    (folder, app)
}
