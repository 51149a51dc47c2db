//! The public catalogue over a DynamoDB API, with listings written by the projector.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod consistency;
mod function;
mod get_product;
mod lag;
mod list_categories;
mod list_products;
mod lists_after_changes;
mod lost_races;
mod program;
mod projector;
mod short_pages;
mod stored_items;

use std::time::Duration;

use axum::Router;
use catalog::{App, Projector};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use shared::clock::Clock;
use shared::contract::envelope::{Envelope, Event as _};
use shared::contract::inventory::Event;
use shared::contract::product::{Attributes, ContentHash, Product, Status};
use shared::contract::stock::Stock;
use shared::host::intake::{Delivery, Handler as _};
use shared::id::{EventId, Ids, ProductId, RequestId, SellerId};
use shared::money::Money;
use shared::{contract, host};
use testkit::{Call, Calls, TestDynamo, TestResponse, counted_dynamodb, dynamodb, stale_dynamodb};

const TABLE: &str = "listings";

/// The seed of the products of [`filled`].
const SEED: u64 = 11;

/// A catalogue with a projector that feeds it.
pub(crate) struct Catalogue {
    pub(crate) router: Router,
    pub(crate) projector: Projector,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) dynamo: TestDynamo,
    pub(crate) app: App,
    /// What stale reads see, in a catalogue that lags.
    replica: Option<TestDynamo>,
}

impl Catalogue {
    pub(crate) async fn new() -> Self {
        let dynamo = dynamodb().await;
        catalog::table::ensure(&dynamo.client, TABLE).await.unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let ids = Ids::seeded(1);
        let app = App::new(dynamo.client.clone(), TABLE, "BRL".parse().unwrap());
        let router = catalog::router(app.clone());
        let router = host::server::with_standard_layers(router, &clock, &ids);
        let projector = Projector::new(dynamo.client.clone(), TABLE, clock.clone());
        Self { router, projector, clock, ids, dynamo, app, replica: None }
    }

    /// A router over the same catalogue that caches pages.
    pub(crate) fn caching_pages(&self, kept_for: Duration) -> Router {
        let app = App::new(self.dynamo.client.clone(), TABLE, "BRL".parse().unwrap());
        let router = catalog::router(app.with_kept_pages(kept_for));
        host::server::with_standard_layers(router, &self.clock, &self.ids)
    }

    /// A router over the same catalogue that counts its calls to the store.
    pub(crate) fn counting(&self, calls: &Calls) -> Router {
        self.serving(App::new(
            counted_dynamodb(&self.dynamo.client, calls),
            TABLE,
            "BRL".parse().unwrap(),
        ))
    }

    /// A router with another state of the service.
    pub(crate) fn serving(&self, app: App) -> Router {
        host::server::with_standard_layers(catalog::router(app), &self.clock, &self.ids)
    }

    /// The same catalogue over a store whose eventually consistent reads are stale.
    pub(crate) async fn lagging(calls: &Calls) -> Self {
        let mut catalogue = Self::new().await;
        let replica = dynamodb().await;
        catalog::table::ensure(&replica.client, TABLE).await.unwrap();
        let client = stale_dynamodb(&catalogue.dynamo.client, &replica.endpoint, calls);
        catalogue.projector = Projector::new(client.clone(), TABLE, catalogue.clock.clone());
        catalogue.app = App::new(client, TABLE, "BRL".parse().unwrap());
        let router = catalog::router(catalogue.app.clone());
        catalogue.router =
            host::server::with_standard_layers(router, &catalogue.clock, &catalogue.ids);
        catalogue.replica = Some(replica);
        catalogue
    }

    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        Call::get(path).send(&self.router).await
    }

    /// Projects events at their positions, and expects each to succeed.
    pub(crate) async fn project(&self, events: &[(Event, ProductId, i64)]) {
        let now = self.clock.now();
        let deliveries: Vec<Delivery<Event>> = events
            .iter()
            .map(|(event, product, position)| delivery(event, *product, *position, now))
            .collect();
        for result in self.projector.handle(&deliveries).await {
            result.unwrap();
        }
    }
}

pub(crate) fn delivery(
    event: &Event,
    product: ProductId,
    position: i64,
    now: DateTime<Utc>,
) -> Delivery<Event> {
    let envelope = Envelope {
        specversion: "1.0".to_owned(),
        id: EventId::from_u128(position.unsigned_abs().into()),
        source: Event::SOURCE.to_owned(),
        subject: product.uuid(),
        time: now,
        schemaversion: 1,
        traceparent: None,
        requestid: RequestId::nil(),
        requestedtime: now,
        publishedtime: now,
        position,
        republished: false,
        event: event.clone(),
    };
    Delivery { envelope, received_at: now }
}

pub(crate) fn product(id: ProductId, now: DateTime<Utc>) -> Product {
    Product {
        id,
        seller_id: SellerId::from_u128(7),
        sku: format!("SKU-{id}"),
        name: "Running shoe".to_owned(),
        description: Some("Light".to_owned()),
        category: "shoes".to_owned(),
        attributes: Attributes::from([(
            "weight".to_owned(),
            contract::product::Attribute::Decimal(0.25),
        )]),
        price: Money { amount: 100, currency: "BRL".parse().unwrap() },
        status: Status::Active,
        version: 1,
        content_hash: ContentHash(String::new()),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
    .hashed()
}

pub(crate) fn stock(on_hand: i64, version: i64, now: DateTime<Utc>) -> Stock {
    Stock { on_hand, held: 0, version, updated_at: now }
}

pub(crate) fn path(id: ProductId) -> String {
    format!("/v1/catalog/products/{id}")
}

/// Lists one product and returns it.
pub(crate) async fn listed(catalogue: &Catalogue) -> Product {
    let now = catalogue.clock.now();
    let product = product(catalogue.ids.next(now), now);
    let event = Event::ProductCreated { product: product.clone(), stock: stock(2, 1, now) };
    catalogue.project(&[(event, product.id, 1)]).await;
    product
}

/// A product of [`filled`].
pub(crate) struct Expected {
    pub(crate) product: Product,
    pub(crate) on_hand: i64,
}

/// Fills a catalogue with products of all kinds, most of them listed.
pub(crate) async fn filled(catalogue: &Catalogue, count: i64) -> Vec<Expected> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut all = Vec::new();
    let mut events = Vec::new();
    for position in 1..=count {
        catalogue.clock.advance(Duration::from_millis(rng.random_range(0..3)));
        let now = catalogue.clock.now();
        let currency = ["BRL", "BRL", "BRL", "EUR"].choose(&mut rng).unwrap().parse().unwrap();
        let product = Product {
            category: (*["shoes", "hats", "toys"].choose(&mut rng).unwrap()).to_owned(),
            seller_id: SellerId::from_u128(rng.random_range(1..4)),
            // Few amounts, so that many are equal and the id decides the order.
            price: Money { amount: rng.random_range(0..12) * 50, currency },
            status: *[Status::Active, Status::Active, Status::Active, Status::Draft]
                .choose(&mut rng)
                .unwrap(),
            ..product(catalogue.ids.next(now), now)
        }
        .hashed();
        let on_hand = rng.random_range(0..2);
        let created =
            Event::ProductCreated { product: product.clone(), stock: stock(on_hand, 1, now) };
        events.push((created, product.id, position));
        all.push(Expected { product, on_hand });
    }
    for batch in events.chunks(100) {
        catalogue.project(batch).await;
    }
    all
}
