use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::json;
use shared::clock::Clock;
use shared::contract::events::Event;
use shared::contract::product::Product;
use shared::host::intake::{Failure, Handler as _};
use testkit::{Call, Calls, counted_dynamodb, stale_dynamodb};
use uuid::Uuid;

use crate::{TABLE, World, delivery, product, stock};
use catalog::Projector;

fn path(id: Uuid) -> String {
    format!("/v1/catalog/products/{id}")
}

/// Lists one product and returns it.
async fn listed(world: &World) -> Product {
    let now = world.clock.now();
    let product = product(world.ids.next(now), now);
    let event = Event::ProductCreated { product: product.clone(), stock: stock(2, 1, now) };
    world.project(&[(event, product.id, 1)]).await;
    product
}

#[tokio::test]
async fn a_listed_product_shows_everything_that_buyers_may_know() {
    let world = World::new().await;
    let product = listed(&world).await;
    let shown = world.get(&path(product.id)).await.expect(200);
    let mut expected = serde_json::to_value(&product).unwrap();
    let fields = expected.as_object_mut().unwrap();
    fields.remove("status");
    fields.insert("in_stock".to_owned(), json!(true));
    fields.insert("available".to_owned(), json!(2));
    assert_eq!(shown.json, expected);
    assert_eq!(shown.header("etag"), "\"v1.1-1.1\"");
    let again = Call::get(&path(product.id)).header("if-none-match", "\"v1.1-1.1\"");
    again.send(&world.router).await.expect(304);
    let lists = Call::get(&path(product.id)).header("if-none-match", "\"x\", W/\"v1.1-1.1\"");
    lists.send(&world.router).await.expect(304);
}

#[tokio::test]
async fn a_sale_changes_what_is_available_and_the_etag() {
    let world = World::new().await;
    let product = listed(&world).await;
    let sold = Event::StockChanged { stock: stock(0, 2, world.clock.now()) };
    world.project(&[(sold, product.id, 2)]).await;
    let shown = world.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["available"], &shown.json["in_stock"]), (&json!(0), &json!(false)));
    assert_eq!(shown.header("etag"), "\"v1.2-1.2\"");
}

#[tokio::test]
async fn drafts_tombstones_and_what_never_was_are_not_there() {
    let world = World::new().await;
    let listed = listed(&world).await;
    let draft =
        Product { status: shared::contract::product::Status::Draft, version: 2, ..listed.clone() };
    let event = Event::ProductUpdated { product: draft.clone().hashed() };
    world.project(&[(event, listed.id, 2)]).await;
    world.get(&path(listed.id)).await.expect(404);
    world.get(&format!("{}?min_version=2", path(listed.id))).await.expect(404);
    let gone = Product { version: 3, deleted_at: Some(world.clock.now()), ..draft };
    let event = Event::ProductDeleted { product: gone.hashed() };
    world.project(&[(event, listed.id, 3)]).await;
    world.get(&path(listed.id)).await.expect(404);
    world.get(&path(Uuid::from_u128(1))).await.expect(404);
    world.get("/v1/catalog/products/nonsense").await.expect(404);
}

#[tokio::test]
async fn a_tombstone_that_has_expired_is_dropped_and_no_other() {
    let world = World::new().await;
    let listed = listed(&world).await;
    let deletion = |n: u128, deleted_at: DateTime<Utc>| {
        let gone =
            Product { id: Uuid::from_u128(n), deleted_at: Some(deleted_at), ..listed.clone() };
        Event::ProductDeleted { product: gone.hashed() }
    };
    let now = Clock::System.now();
    let (old, young) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (long_ago, lately) = (now - TimeDelta::days(36), now - TimeDelta::days(34));
    world.project(&[(deletion(1, long_ago), old, 2), (deletion(2, lately), young, 3)]).await;
    assert_eq!(world.dynamo.store.sweep_ttl().unwrap(), 1);
    world.get(&path(listed.id)).await.expect(200);
    let left = world.dynamo.client.scan().table_name(TABLE).send().await.unwrap();
    let ids: Vec<String> =
        left.items().iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()).collect();
    assert!(ids.contains(&young.to_string()) && !ids.contains(&old.to_string()), "{ids:?}");
}

#[tokio::test]
async fn a_reader_gets_the_version_that_he_waits_for() {
    let world = World::new().await;
    let product = listed(&world).await;
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
    let event = Event::ProductUpdated { product: renamed.hashed() };
    let wanted = format!("{}?min_version=2", path(product.id));
    let subject = [(event, product.id, 2)];
    let (shown, ()) = tokio::join!(world.get(&wanted), world.project(&subject));
    assert_eq!(shown.expect(200).json["name"], "Renamed");
}

#[tokio::test]
async fn a_version_that_does_not_come_is_a_503_after_a_while() {
    let world = World::new().await;
    let product = listed(&world).await;
    let begun = std::time::Instant::now();
    let late = world.get(&format!("{}?min_version=2", path(product.id))).await.expect(503);
    assert_eq!(late.code(), "not_yet_visible");
    assert_eq!(late.header("retry-after"), "1");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    for wrong in ["0", "-1"] {
        world.get(&format!("{}?min_version={wrong}", path(product.id))).await.expect(422);
    }
    world.get(&format!("{}?min_version=x", path(product.id))).await.expect(400);
}

#[tokio::test]
async fn a_category_that_is_noted_already_is_not_written_again() {
    let mut world = World::new().await;
    listed(&world).await;
    let calls = Calls::default();
    let client = counted_dynamodb(&world.dynamo.client, &calls);
    // Another one, that remembers nothing.
    world.projector = Projector::new(client, TABLE, world.clock.clone());
    listed(&world).await;
    let counted = calls.take();
    let names: Vec<&String> = counted.keys().collect();
    assert_eq!(names, ["BatchGetItem", "GetItem", "PutItem"]);
    // Half of what a consistent read costs.
    assert!((counted["BatchGetItem"].units - 0.5).abs() < 0.01, "{counted:?}");
}

#[tokio::test]
async fn a_projector_to_which_reads_are_always_behind_loses_nothing_and_brings_nothing_back() {
    let mut world = World::new().await;
    let client = stale_dynamodb(&world.dynamo.client);
    world.projector = Projector::new(client, TABLE, world.clock.clone());
    let product = listed(&world).await;
    let now = world.clock.now();
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
    let renamed = Event::ProductUpdated { product: renamed.hashed() };
    let sold = Event::StockChanged { stock: stock(1, 2, now) };
    world.project(&[(sold, product.id, 3)]).await;
    // The older one comes later, and twice.
    for _ in 0..2 {
        world.project(&[(renamed.clone(), product.id, 2)]).await;
    }
    let shown = world.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(1)));

    let gone = Product { version: 3, deleted_at: Some(now), ..product.clone() };
    let deleted = Event::ProductDeleted { product: gone.hashed() };
    world.project(&[(deleted, product.id, 4)]).await;
    world.project(&[(renamed, product.id, 2)]).await;
    world.get(&path(product.id)).await.expect(404);
    let categories = world.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json["data"], json!([{"slug": product.category}]));
}

#[tokio::test]
async fn what_is_there_is_shown_however_many_wait_for_what_never_comes() {
    let world = World::new().await;
    let product = listed(&world).await;
    let never = format!("{}?min_version=9", path(product.id));
    // More than may wait at once.
    let mut waiting: FuturesUnordered<_> = (0..300).map(|_| world.get(&never)).collect();
    // Whoever finds no place any more is told at once.
    let refused = waiting.next().await.unwrap().expect(503);
    assert_eq!(refused.code(), "not_yet_visible");
    world.get(&format!("{}?min_version=1", path(product.id))).await.expect(200);
}

#[tokio::test]
async fn projectors_that_race_for_one_listing_lose_nothing() {
    let world = World::new().await;
    let product = listed(&world).await;
    let now = world.clock.now();
    let one = |version: i64| {
        let changed = Product { name: format!("V{version}"), version, ..product.clone() };
        let renamed = Event::ProductUpdated { product: changed.hashed() };
        let sold = Event::StockChanged { stock: stock(version, version, now) };
        [(renamed, product.id, version * 2), (sold, product.id, version * 2 + 1)]
    };
    let (a, b, c, d) = (one(2), one(3), one(4), one(5));
    tokio::join!(world.project(&a), world.project(&b), world.project(&c), world.project(&d));
    let shown = world.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("V5"), &json!(5)));
}

#[tokio::test]
async fn projectors_that_race_for_a_first_listing_lose_nothing() {
    let world = World::new().await;
    let now = world.clock.now();
    for nth in 0..8 {
        let product = product(world.ids.next(now), now);
        let changed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
        let created = Event::ProductCreated { product: product.clone(), stock: stock(3, 1, now) };
        let created = [(created, product.id, nth * 2 + 1)];
        let changed = Event::ProductUpdated { product: changed.hashed() };
        let changed = [(changed, product.id, nth * 2 + 2)];
        // Whoever begins first may be the one that puts last.
        if nth % 2 == 0 {
            tokio::join!(world.project(&created), world.project(&changed));
        } else {
            tokio::join!(world.project(&changed), world.project(&created));
        }
        let shown = world.get(&path(product.id)).await.expect(200);
        assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(3)));
    }
}

#[tokio::test]
async fn a_change_and_a_sale_that_race_are_both_listed() {
    let world = World::new().await;
    let now = world.clock.now();
    for nth in 0..8 {
        let product = listed(&world).await;
        let changed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
        let changed = Event::ProductUpdated { product: changed.hashed() };
        let changed = [(changed, product.id, nth * 2 + 2)];
        let sold = [(Event::StockChanged { stock: stock(1, 2, now) }, product.id, nth * 2 + 3)];
        if nth % 2 == 0 {
            tokio::join!(world.project(&changed), world.project(&sold));
        } else {
            tokio::join!(world.project(&sold), world.project(&changed));
        }
        let shown = world.get(&path(product.id)).await.expect(200);
        assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(1)));
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_a_503_and_costs_no_event_its_attempt() {
    let world = World::new().await;
    let product = listed(&world).await;
    world.dynamo.client.delete_table().table_name("listings").send().await.unwrap();
    let sold = Event::StockChanged { stock: stock(0, 2, world.clock.now()) };
    let results =
        world.projector.handle(&[delivery(&sold, product.id, 2, product.created_at)]).await;
    assert!(matches!(results[..], [Err(Failure::Unavailable(_))]), "{results:?}");
    let refused = world.get(&path(product.id)).await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(!refused.text.contains("ResourceNotFound"), "{}", refused.text);
}
