//! Which reads of DynamoDB may be stale, and what buyers see when they are.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::contract::inventory::Event;
use shared::contract::product::Product;
use shared::host::intake::Handler as _;
use testkit::{Calls, TestResponse};

use crate::{Catalogue, TABLE, delivery, listed, path, product, stock};

/// Every reader with its reads. The reason says why an eventual read may be stale, or why it must not be.
const READERS: &[(&str, &[&str], &str)] = &[
    ("GET /v1/catalog/categories", &["GetItem, eventual"], "a new category may appear late"),
    (
        "GET /v1/catalog/products",
        &["Query of an index, eventual"],
        "an index has no other reads, and the description says how old a page may be",
    ),
    (
        "GET /v1/catalog/products/{id}",
        &["GetItem, strong"],
        "a version is never followed by an older one",
    ),
    ("find_listing", &["GetItem, strong"], "a trace must not say that a listed event is missing"),
    (
        "projector",
        &["BatchGetItem, eventual", "GetItem, eventual"],
        "a put based on an old listing loses its race; adding a category again changes nothing",
    ),
    (
        "projector that lost a race",
        &["BatchGetItem, eventual", "BatchGetItem, strong"],
        "it lost because its first read was stale, so another such read would lose again",
    ),
    ("table::ensure", &["GetItem, eventual"], "only whether the table exists matters"),
];

/// The routes that the API description names.
fn routes() -> Vec<String> {
    let document = serde_json::to_value(catalog::routes().into_openapi()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    routes
}

#[tokio::test]
async fn each_reader_has_the_consistency_of_its_row() {
    let calls = Calls::default();
    let catalogue = Catalogue::lagging(&calls).await;
    let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
    let mut record = |reader: &str| found.push((reader.to_owned(), calls.take_reads()));
    let product = listed(&catalogue).await;
    record("projector");
    // The stale read shows the first version, so only the read after the lost race shows this one.
    for version in [2, 3] {
        calls.take_reads();
        let sold = Event::StockChanged { stock: stock(version, version, product.created_at) };
        catalogue.project(&[(sold, product.id, version)]).await;
    }
    record("projector that lost a race");
    for route in routes() {
        let own = route.trim_start_matches("GET ").replace("{id}", &product.id.to_string());
        catalogue.get(&own).await.expect(200);
        if route.contains("{id}") {
            catalogue.get(&format!("{own}?min_version=1")).await.expect(200);
        } else {
            catalogue.get(&format!("{own}?limit=1&in_stock=true&price_min=1&sort=price")).await;
        }
        record(&route);
    }
    catalogue.app.find_listing(product.id).await.unwrap().unwrap();
    record("find_listing");
    let client = testkit::counted_dynamodb(&catalogue.dynamo.client, &calls);
    catalog::table::ensure(&client, TABLE).await.unwrap();
    record("table::ensure");
    found.sort();
    let rows: Vec<(String, BTreeSet<String>)> = READERS
        .iter()
        .map(|(reader, reads, _)| {
            ((*reader).to_owned(), reads.iter().map(|read| (*read).to_owned()).collect())
        })
        .collect();
    assert_eq!(found, rows);
}

fn name(response: TestResponse) -> Value {
    response.expect(200).json["name"].clone()
}

#[tokio::test]
async fn read_by_id_shows_the_last_write_when_reads_are_stale() {
    let catalogue = Catalogue::lagging(&Calls::default()).await;
    let product = listed(&catalogue).await;
    let id = product.id;
    for version in 2..=4 {
        let changed = Product { name: format!("V{version}"), version, ..product.clone() };
        let changed = Event::ProductUpdated { product: changed.hashed() };
        catalogue.project(&[(changed, id, version)]).await;
        assert_eq!(name(catalogue.get(&path(id)).await), format!("V{version}"));
        let waited = format!("{}?min_version={version}", path(id));
        assert_eq!(name(catalogue.get(&waited).await), format!("V{version}"));
        let listing = catalogue.app.find_listing(id).await.unwrap().unwrap();
        assert_eq!(listing.product_version, version);
    }
    let gone = Product { version: 5, deleted_at: Some(product.created_at), ..product.clone() };
    let gone = Event::ProductDeleted { product: gone.hashed() };
    catalogue.project(&[(gone, id, 5)]).await;
    catalogue.get(&path(id)).await.expect(404);
    // Lists may lag, which also shows that the reads of this store are stale.
    let page = catalogue.get("/v1/catalog/products").await.expect(200);
    assert_eq!(page.json["data"][0]["name"], json!(product.name));
}

#[tokio::test]
async fn stale_categories_lose_none_that_is_in_use() {
    let catalogue = Catalogue::lagging(&Calls::default()).await;
    let now = catalogue.clock.now();
    let mut events = Vec::new();
    for (nth, category) in [(1, "shoes"), (2, "hats"), (3, "toys"), (4, "hats")] {
        let product =
            Product { category: category.to_owned(), ..product(catalogue.ids.next(now), now) }
                .hashed();
        let event = Event::ProductCreated { product: product.clone(), stock: stock(1, 1, now) };
        events.push(delivery(&event, product.id, nth, now));
    }
    for event in events {
        catalogue.projector.handle(&[event]).await.remove(0).unwrap();
    }
    let app = catalog::App::new(catalogue.dynamo.client.clone(), TABLE, "BRL".parse().unwrap());
    let router = catalog::router(app);
    let listed = testkit::Call::get("/v1/catalog/categories").send(&router).await.expect(200);
    let expected = json!([{"slug": "hats"}, {"slug": "shoes"}, {"slug": "toys"}]);
    assert_eq!(listed.json["data"], expected);
    // The endpoint's own read may lag.
    let stale = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(stale.json["data"], json!([{"slug": "shoes"}]));
}
