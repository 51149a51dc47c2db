//! What the projector writes, as the endpoints serve it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::clock::Clock;
use shared::contract::inventory::Event;
use shared::contract::listing::key_of;
use shared::contract::product::Product;
use shared::host::intake::{Failure, Handler as _};
use shared::id::ProductId;
use testkit::{Calls, DynamoFault, Faults, counted_dynamodb, faulty_dynamodb};

use crate::{Catalogue, TABLE, delivery, listed, path, product, stock};
use catalog::Projector;

#[tokio::test]
async fn only_expired_tombstones_are_dropped() {
    let catalogue = Catalogue::new().await;
    let listed = listed(&catalogue).await;
    let deletion = |n: u128, deleted_at: DateTime<Utc>| {
        let gone =
            Product { id: ProductId::from_u128(n), deleted_at: Some(deleted_at), ..listed.clone() };
        Event::ProductDeleted { product: gone.hashed() }
    };
    // Real time: the local store's, which deletes what expired days ago.
    let now = Clock::System.now();
    let (old, young) = (ProductId::from_u128(1), ProductId::from_u128(2));
    let (long_ago, lately) = (now - TimeDelta::days(36), now - TimeDelta::days(34));
    catalogue.project(&[(deletion(1, long_ago), old, 2), (deletion(2, lately), young, 3)]).await;
    assert_eq!(catalogue.dynamo.store.sweep_ttl().unwrap(), 1);
    catalogue.get(&path(listed.id)).await.expect(200);
    let left = catalogue.dynamo.client.scan().table_name(TABLE).send().await.unwrap();
    let ids: Vec<String> =
        left.items().iter().filter_map(|item| item.get("id")?.as_s().ok().cloned()).collect();
    assert!(ids.contains(&young.to_string()) && !ids.contains(&old.to_string()), "{ids:?}");
}

#[tokio::test]
async fn known_category_is_not_written_again() {
    let mut catalogue = Catalogue::new().await;
    listed(&catalogue).await;
    let calls = Calls::default();
    let client = counted_dynamodb(&catalogue.dynamo.client, &calls);
    // A new projector, which remembers no category.
    catalogue.projector = Projector::new(client, TABLE, catalogue.clock.clone());
    listed(&catalogue).await;
    let counted = calls.take();
    let names: Vec<&String> = counted.keys().collect();
    assert_eq!(names, ["BatchGetItem", "GetItem", "PutItem"]);
    // Half the cost of a strongly consistent read.
    assert!((counted["BatchGetItem"].units - 0.5).abs() < 0.01, "{counted:?}");
}

#[tokio::test]
async fn stale_reads_lose_no_event_and_revive_no_listing() {
    let catalogue = Catalogue::lagging(&Calls::default()).await;
    let product = listed(&catalogue).await;
    let now = catalogue.clock.now();
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
    let renamed = Event::ProductUpdated { product: renamed.hashed() };
    let sold = Event::StockChanged { stock: stock(1, 2, now) };
    catalogue.project(&[(sold, product.id, 3)]).await;
    // The older event arrives later, and twice.
    for _ in 0..2 {
        catalogue.project(&[(renamed.clone(), product.id, 2)]).await;
    }
    let shown = catalogue.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(1)));

    let gone = Product { version: 3, deleted_at: Some(now), ..product.clone() };
    let deleted = Event::ProductDeleted { product: gone.hashed() };
    catalogue.project(&[(deleted, product.id, 4)]).await;
    catalogue.project(&[(renamed, product.id, 2)]).await;
    catalogue.get(&path(product.id)).await.expect(404);
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json["data"], json!([{"slug": product.category}]));
}

#[tokio::test]
async fn racing_projectors_lose_no_event() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let now = catalogue.clock.now();
    let one = |version: i64| {
        let changed = Product { name: format!("V{version}"), version, ..product.clone() };
        let renamed = Event::ProductUpdated { product: changed.hashed() };
        let sold = Event::StockChanged { stock: stock(version, version, now) };
        [(renamed, product.id, version * 2), (sold, product.id, version * 2 + 1)]
    };
    let (a, b, c, d) = (one(2), one(3), one(4), one(5));
    tokio::join!(
        catalogue.project(&a),
        catalogue.project(&b),
        catalogue.project(&c),
        catalogue.project(&d)
    );
    let shown = catalogue.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("V5"), &json!(5)));
}

#[tokio::test]
async fn racing_projectors_lose_no_event_of_a_first_listing() {
    let catalogue = Catalogue::new().await;
    let now = catalogue.clock.now();
    for nth in 0..8 {
        let product = product(catalogue.ids.next(now), now);
        let changed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
        let created = Event::ProductCreated { product: product.clone(), stock: stock(3, 1, now) };
        let created = [(created, product.id, nth * 2 + 1)];
        let changed = Event::ProductUpdated { product: changed.hashed() };
        let changed = [(changed, product.id, nth * 2 + 2)];
        // The projector that begins first may put last, so both orders are tried.
        if nth % 2 == 0 {
            tokio::join!(catalogue.project(&created), catalogue.project(&changed));
        } else {
            tokio::join!(catalogue.project(&changed), catalogue.project(&created));
        }
        let shown = catalogue.get(&path(product.id)).await.expect(200);
        assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(3)));
    }
}

#[tokio::test]
async fn racing_change_and_sale_are_both_listed() {
    let catalogue = Catalogue::new().await;
    let now = catalogue.clock.now();
    for nth in 0..8 {
        let product = listed(&catalogue).await;
        let changed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
        let changed = Event::ProductUpdated { product: changed.hashed() };
        let changed = [(changed, product.id, nth * 2 + 2)];
        let sold = [(Event::StockChanged { stock: stock(1, 2, now) }, product.id, nth * 2 + 3)];
        if nth % 2 == 0 {
            tokio::join!(catalogue.project(&changed), catalogue.project(&sold));
        } else {
            tokio::join!(catalogue.project(&sold), catalogue.project(&changed));
        }
        let shown = catalogue.get(&path(product.id)).await.expect(200);
        assert_eq!((&shown.json["name"], &shown.json["available"]), (&json!("Renamed"), &json!(1)));
    }
}

#[tokio::test]
async fn unavailable_store_is_a_503_and_costs_no_attempt() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    catalogue.dynamo.client.delete_table().table_name("listings").send().await.unwrap();
    let sold = Event::StockChanged { stock: stock(0, 2, catalogue.clock.now()) };
    let results =
        catalogue.projector.handle(&[delivery(&sold, product.id, 2, product.created_at)]).await;
    assert!(matches!(results[..], [Err(Failure::Unavailable(_))]), "{results:?}");
    let refused = catalogue.get(&path(product.id)).await.expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(!refused.text.contains("ResourceNotFound"), "{}", refused.text);
}

#[tokio::test]
async fn each_event_of_a_batch_has_the_result_of_its_product() {
    let mut catalogue = Catalogue::new().await;
    let faults = Faults::default();
    let client = faulty_dynamodb(&catalogue.dynamo.client, &faults);
    catalogue.projector = Projector::new(client, TABLE, catalogue.clock.clone());
    let now = catalogue.clock.now();
    let products: Vec<Product> = (0..4).map(|_| product(catalogue.ids.next(now), now)).collect();
    // The store refuses the second product and does not respond for the third.
    let [denied, silent] = [products[1].id.to_string(), products[2].id.to_string()];
    faults.plan(move |call| {
        let is_put_of = |id: &str| call.starts_with("PutItem ") && call.contains(id);
        if is_put_of(&denied) {
            return Some(DynamoFault::DENIED);
        }
        is_put_of(&silent).then_some(DynamoFault::INTERNAL)
    });
    // The events of a product are apart, and neither end of the batch has the result of the other.
    let order = [3, 1, 0, 1, 2, 0];
    let deliveries: Vec<_> = (1..)
        .zip(order)
        .map(|(position, nth)| {
            let product = products[nth].clone();
            let id = product.id;
            let created = Event::ProductCreated { product, stock: stock(position, 1, now) };
            delivery(&created, id, position, now)
        })
        .collect();
    let results = catalogue.projector.handle(&deliveries).await;
    let results: Vec<&str> = results
        .iter()
        .map(|result| match result {
            Ok(()) => "done",
            Err(Failure::Failed(_)) => "failed",
            Err(Failure::Unavailable(_)) => "unavailable",
        })
        .collect();
    assert_eq!(results, ["done", "failed", "done", "failed", "unavailable", "done"]);
    for (nth, status) in [(0, 200), (1, 404), (2, 404), (3, 200)] {
        catalogue.get(&path(products[nth].id)).await.expect(status);
    }
}

/// Projects a new product of a category. Returns its id and the result.
async fn create(
    catalogue: &Catalogue,
    projector: &Projector,
    category: &str,
) -> (ProductId, Result<(), Failure>) {
    let now = catalogue.clock.now();
    let product =
        Product { category: category.to_owned(), ..product(catalogue.ids.next(now), now) };
    let id = product.id;
    let created = Event::ProductCreated { product: product.hashed(), stock: stock(1, 1, now) };
    let mut results = projector.handle(&[delivery(&created, id, 1, now)]).await;
    (id, results.remove(0))
}

/// Whether buyers can find a category.
async fn is_offered(catalogue: &Catalogue, category: &str) -> bool {
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    categories.json["data"].as_array().unwrap().contains(&json!({"slug": category}))
}

#[tokio::test]
async fn listing_waits_until_its_category_can_be_recorded() {
    let catalogue = Catalogue::new().await;
    let faults = Faults::default();
    let client = faulty_dynamodb(&catalogue.dynamo.client, &faults);
    let transient = [
        DynamoFault::THROTTLED,
        DynamoFault::INTERNAL,
        DynamoFault::Refused(503, "ServiceUnavailable"),
        DynamoFault::RequestLost,
    ];
    for operation in ["GetItem", "UpdateItem"] {
        for (nth, fault) in transient.into_iter().enumerate() {
            let category = format!("{}-{nth}", operation.to_lowercase());
            let projector = Projector::new(client.clone(), TABLE, catalogue.clock.clone());
            faults.plan(move |call| call.starts_with(operation).then_some(fault));
            let (id, result) = create(&catalogue, &projector, &category).await;
            let what = format!("{fault:?} of {operation}");
            assert!(matches!(result, Err(Failure::Unavailable(_))), "{what}: {result:?}");
            catalogue.get(&path(id)).await.expect(404);
            assert!(!is_offered(&catalogue, &category).await, "{what}");
            // The store is back: nothing is remembered of the failure.
            faults.clear();
            let (id, result) = create(&catalogue, &projector, &category).await;
            assert!(result.is_ok(), "{what}: {result:?}");
            catalogue.get(&path(id)).await.expect(200);
            assert!(is_offered(&catalogue, &category).await, "{what}");
        }
    }
}

#[tokio::test]
async fn category_that_is_refused_keeps_no_product_from_buyers() {
    let catalogue = Catalogue::new().await;
    let faults = Faults::default();
    let client = faulty_dynamodb(&catalogue.dynamo.client, &faults);
    // The item is full, or the projector may not write it.
    for fault in [DynamoFault::Refused(400, "ValidationException"), DynamoFault::DENIED] {
        for operation in ["GetItem", "UpdateItem"] {
            let projector = Projector::new(client.clone(), TABLE, catalogue.clock.clone());
            let refused = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&refused);
            faults.plan(move |call| {
                let is_refused = call.starts_with(operation);
                counted.fetch_add(u32::from(is_refused), Ordering::SeqCst);
                is_refused.then_some(fault)
            });
            for _ in 0..3 {
                let (id, result) = create(&catalogue, &projector, "hats").await;
                assert!(result.is_ok(), "{fault:?} of {operation}: {result:?}");
                catalogue.get(&path(id)).await.expect(200);
            }
            assert!(!is_offered(&catalogue, "hats").await);
            // It is remembered, and not tried again for each event.
            assert_eq!(refused.load(Ordering::SeqCst), 1, "{fault:?} of {operation}");
        }
    }
}

/// The attributes of a listing that order its events, and those whose type the keys of the table fix.
const NEVER_DAMAGED: [&str; 10] = [
    "product_version",
    "product_position",
    "stock_version",
    "stock_position",
    "bucket",
    "id",
    "all_key",
    "category_key",
    "seller_key",
    "price_key",
];

#[tokio::test]
async fn late_event_does_not_win_over_a_damaged_listing() {
    let catalogue = Catalogue::new().await;
    let client = &catalogue.dynamo.client;
    let item = async |id| {
        let read = client.get_item().table_name(TABLE).set_key(Some(key_of(id)));
        read.send().await.unwrap().item.unwrap()
    };
    let id = listed(&catalogue).await.id;
    let mut names: Vec<String> = item(id).await.into_keys().collect();
    names.retain(|name| !NEVER_DAMAGED.contains(&name.as_str()));
    assert!(names.contains(&"on_hand".to_owned()) && names.contains(&"hops".to_owned()));
    let now = catalogue.clock.now();
    for name in names {
        let first = listed(&catalogue).await;
        let event = |version: i64| {
            let product = Product { name: format!("V{version}"), version, ..first.clone() };
            let product = Event::ProductUpdated { product: product.hashed() };
            let sold = Event::StockChanged { stock: stock(version, version, now) };
            [(product, first.id, version * 2), (sold, first.id, version * 2 + 1)]
        };
        for version in [2, 3] {
            catalogue.project(&event(version)).await;
        }
        let mut damaged = item(first.id).await;
        damaged.insert(name.clone(), AttributeValue::Bool(true));
        let put = client.put_item().table_name(TABLE).set_item(Some(damaged.clone()));
        put.send().await.unwrap();
        for late in event(2).into_iter().chain(event(3)) {
            catalogue.project(&[late]).await;
        }
        assert_eq!(item(first.id).await, damaged, "{name}: late events");
        // Newer events repair it, and a part that they do not carry keeps its version.
        let [product, sold] = event(4);
        catalogue.project(&[product]).await;
        let left = item(first.id).await;
        for part in ["stock_version", "stock_position"] {
            assert_eq!(left[part], damaged[part], "{name}: {part}");
        }
        catalogue.project(&[sold]).await;
        let shown = catalogue.get(&path(first.id)).await.expect(200).json;
        assert_eq!((&shown["name"], &shown["available"]), (&json!("V4"), &json!(4)), "{name}");
    }
}
