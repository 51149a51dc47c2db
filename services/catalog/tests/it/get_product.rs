use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shared::contract::inventory::Event;
use shared::contract::product::Product;
use shared::contract::stock::Stock;
use shared::id::ProductId;
use testkit::{
    Call, Calls, MAX_WAIT, TestResponse, counted_dynamodb, eventually, scripted_dynamodb,
};
use tokio::time::Instant;

use catalog::App;

use crate::{Catalogue, TABLE, listed, path, product, stock};

/// Number of requests that may wait for a version at once.
const MAX_WAITERS: usize = 256;

#[tokio::test]
async fn listed_product_has_every_public_field() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let shown = catalogue.get(&path(product.id)).await.expect(200);
    let mut expected = serde_json::to_value(&product).unwrap();
    let fields = expected.as_object_mut().unwrap();
    fields.remove("status");
    fields.insert("in_stock".to_owned(), json!(true));
    fields.insert("available".to_owned(), json!(2));
    assert_eq!(shown.json, expected);
    assert_eq!(shown.header("etag"), "\"v1.1-1.1\"");
    let again = Call::get(&path(product.id)).header("if-none-match", "\"v1.1-1.1\"");
    again.send(&catalogue.router).await.expect(304);
    let lists = Call::get(&path(product.id)).header("if-none-match", "\"x\", W/\"v1.1-1.1\"");
    lists.send(&catalogue.router).await.expect(304);
}

#[tokio::test]
async fn change_is_shown_with_its_own_time() {
    let catalogue = Catalogue::new().await;
    let created = listed(&catalogue).await;
    catalogue.clock.advance(Duration::from_mins(5));
    let now = catalogue.clock.now();
    let renamed = Product { version: 2, updated_at: now, ..created.clone() };
    let event = Event::ProductUpdated { product: renamed.hashed() };
    catalogue.project(&[(event, created.id, 2)]).await;
    let shown = catalogue.get(&path(created.id)).await.expect(200).json;
    assert_eq!(
        (&shown["created_at"], &shown["updated_at"]),
        (&json!(created.created_at), &json!(now))
    );
    assert_ne!(shown["created_at"], shown["updated_at"]);
}

#[tokio::test]
async fn sale_changes_availability_and_etag() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let sold = Event::StockChanged { stock: stock(0, 2, catalogue.clock.now()) };
    catalogue.project(&[(sold, product.id, 2)]).await;
    let shown = catalogue.get(&path(product.id)).await.expect(200);
    assert_eq!((&shown.json["available"], &shown.json["in_stock"]), (&json!(0), &json!(false)));
    assert_eq!(shown.header("etag"), "\"v1.2-1.2\"");
}

#[tokio::test]
async fn drafts_tombstones_and_unknown_ids_are_not_found() {
    let catalogue = Catalogue::new().await;
    let listed = listed(&catalogue).await;
    let draft =
        Product { status: shared::contract::product::Status::Draft, version: 2, ..listed.clone() };
    let event = Event::ProductUpdated { product: draft.clone().hashed() };
    catalogue.project(&[(event, listed.id, 2)]).await;
    catalogue.get(&path(listed.id)).await.expect(404);
    catalogue.get(&format!("{}?min_version=2", path(listed.id))).await.expect(404);
    let gone = Product { version: 3, deleted_at: Some(catalogue.clock.now()), ..draft };
    let event = Event::ProductDeleted { product: gone.hashed() };
    catalogue.project(&[(event, listed.id, 3)]).await;
    catalogue.get(&path(listed.id)).await.expect(404);
    catalogue.get(&path(ProductId::from_u128(1))).await.expect(404);
    catalogue.get("/v1/catalog/products/nonsense").await.expect(404);
}

#[tokio::test]
async fn reader_gets_the_version_it_waits_for() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
    let event = Event::ProductUpdated { product: renamed.hashed() };
    let wanted = format!("{}?min_version=2", path(product.id));
    let calls = Calls::default();
    let client = counted_dynamodb(&catalogue.dynamo.client, &calls);
    let app = App::new(client, TABLE, "BRL".parse().unwrap()).with_max_wait(MAX_WAIT);
    let router = catalogue.serving(app);
    let project = async {
        let mut reads = 0;
        // Only a reader that waits reads twice.
        eventually("the second read", async || {
            reads += count(&calls);
            (reads >= 2).then_some(())
        })
        .await;
        catalogue.project(&[(event, product.id, 2)]).await;
    };
    let (shown, ()) = tokio::join!(Call::get(&wanted).send(&router), project);
    assert_eq!(shown.expect(200).json["name"], "Renamed");
}

#[tokio::test]
async fn missing_version_is_a_503_after_the_timeout() {
    let catalogue = Catalogue::new().await;
    let reads = Arc::new(Mutex::new(Vec::new()));
    let read = Arc::clone(&reads);
    let client = scripted_dynamodb(move |_| {
        // Paused time: see below.
        read.lock().unwrap().push(Instant::now());
        Ok(json!({}))
    });
    let router = catalogue.serving(App::new(client, TABLE, "BRL".parse().unwrap()));
    // Paused time: no socket takes part.
    tokio::time::pause();
    let wanted = format!("{}?min_version=2", path(ProductId::from_u128(1)));
    let late = Call::get(&wanted).send(&router).await.expect(503);
    assert_eq!(late.code(), "not_yet_visible");
    assert_eq!(late.header("retry-after"), "1");
    let reads = reads.lock().unwrap();
    // Timers of the runtime are up to a millisecond late.
    let pauses = reads.windows(2).map(|pair| (pair[1] - pair[0]).as_millis() / 5 * 5);
    // The next one would exceed the timeout of 2 s.
    let growing = [10, 20, 40, 80, 160];
    let expected: Vec<u128> = growing.into_iter().chain([200; 8]).collect();
    assert_eq!(pauses.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn product_is_not_shown_before_its_stock() {
    let catalogue = Catalogue::new().await;
    let now = catalogue.clock.now();
    let created = product(catalogue.ids.next(now), now);
    let id = created.id;
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..created.clone() };
    let gone = Product { version: 3, deleted_at: Some(now), ..renamed.clone() };
    let event = Event::ProductUpdated { product: renamed.hashed() };
    // The queue does not keep the order: the change arrives before the creation, which has the stock.
    catalogue.project(&[(event, id, 2)]).await;
    let list = "/v1/catalog/products?sort=-created_at";
    let lists = [list.to_owned(), format!("{list}&category={}", created.category)];
    catalogue.get(&path(id)).await.expect(404);
    for list in &lists {
        assert_eq!(catalogue.get(list).await.expect(200).json["data"], json!([]), "{list}");
    }
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json["data"], json!([]));
    let wanted = format!("{}?min_version=2", path(id));
    let late = catalogue.get(&wanted).await.expect(503);
    assert_eq!(late.code(), "not_yet_visible");

    let event =
        Event::ProductCreated { product: created.clone().hashed(), stock: stock(7, 1, now) };
    catalogue.project(&[(event, id, 1)]).await;
    let shown = catalogue.get(&wanted).await.expect(200).json;
    assert_eq!((&shown["name"], &shown["available"]), (&json!("Renamed"), &json!(7)));
    for list in &lists {
        let cards = catalogue.get(list).await.expect(200).json;
        let card = (&cards["data"][0]["name"], &cards["data"][0]["in_stock"]);
        assert_eq!(card, (&json!("Renamed"), &json!(true)), "{list}");
    }
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json["data"], json!([{"slug": created.category}]));

    // A deletion needs no stock, so a reader that waits for it gets its answer.
    let other = product(catalogue.ids.next(now), now).id;
    let event = Event::ProductDeleted { product: Product { id: other, ..gone }.hashed() };
    catalogue.project(&[(event, other, 3)]).await;
    catalogue.get(&format!("{}?min_version=3", path(other))).await.expect(404);
}

/// The number of calls to the store since the last count.
fn count(calls: &Calls) -> u64 {
    calls.take().values().map(|usage| usage.calls).sum()
}

/// Polls a request until it has read twice, which only a waiter does. Returns its response if it has one
/// after its first read.
async fn refused_at_once(
    mut request: Pin<&mut impl Future<Output = TestResponse>>,
    calls: &Calls,
) -> Option<TestResponse> {
    let mut reads = 0;
    while reads < 2 {
        // Real time: how often it is polled decides nothing.
        let step = tokio::time::timeout(Duration::from_millis(1), request.as_mut()).await;
        reads += count(calls);
        if let Ok(response) = step {
            assert_eq!(reads, 1, "refused after a wait: {}", response.text);
            return Some(response);
        }
    }
    None
}

#[tokio::test]
async fn visible_version_is_served_while_waiters_are_at_the_limit() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let calls = Calls::default();
    let router = catalogue.counting(&calls);
    let never = format!("{}?min_version=9", path(product.id));
    // A waiter that is no longer polled keeps its place: its timeout cannot end its wait.
    let mut waiting = Vec::new();
    for _ in 0..MAX_WAITERS {
        let mut request = Box::pin(Call::get(&never).send(&router));
        let refused = refused_at_once(request.as_mut(), &calls).await;
        assert!(refused.is_none(), "refused with {} waiters: {refused:?}", waiting.len());
        waiting.push(request);
    }
    // Requests beyond the limit are refused at once.
    let mut request = Box::pin(Call::get(&never).send(&router));
    let refused = refused_at_once(request.as_mut(), &calls).await;
    let refused = refused.expect("the request waits beyond the limit").expect(503);
    assert_eq!(refused.code(), "not_yet_visible");
    assert_eq!(refused.header("retry-after"), "1");
    let visible = format!("{}?min_version=1", path(product.id));
    Call::get(&visible).send(&router).await.expect(200);
    drop(waiting);
}

#[tokio::test]
async fn product_may_be_stored_but_must_be_revalidated() {
    let catalogue = Catalogue::new().await;
    let path = path(listed(&catalogue).await.id);
    let shown = catalogue.get(&path).await.expect(200);
    assert_eq!(shown.header("cache-control"), "public, no-cache");
    let same = Call::get(&path).header("if-none-match", shown.header("etag"));
    let same = same.send(&catalogue.router).await.expect(304);
    assert_eq!(same.header("cache-control"), "public, no-cache");
    assert_eq!((same.header("etag"), same.text.as_str()), (shown.header("etag"), ""));
}

#[tokio::test]
async fn invalid_min_version_is_refused_by_its_name() {
    let catalogue = Catalogue::new().await;
    let path = path(listed(&catalogue).await.id);
    let fault = json!({
        "pointer": "min_version", "code": "invalid", "detail": "must be at least 1",
    });
    for wrong in ["0", "-1"] {
        let refused = catalogue.get(&format!("{path}?min_version={wrong}")).await.expect(422);
        assert_eq!(refused.json["errors"], json!([fault]), "{wrong}");
    }
    let unreadable = catalogue.get(&format!("{path}?min_version=x")).await.expect(400);
    assert_eq!(unreadable.code(), "malformed_request");
    assert!(unreadable.json["detail"].as_str().unwrap().contains("min_version"));
}

#[tokio::test]
async fn held_stock_is_not_available() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    // An adjustment may leave less stock than is held.
    let counts =
        [(5, 2, 3), (2, 2, 0), (1, 3, 0), (0, 0, 0), (3, 0, 3), (0, 1, 0), (2, 1, 1), (9, 8, 1)];
    for (version, (on_hand, held, available)) in (2..).zip(counts) {
        let stock = Stock { held, ..stock(on_hand, version, catalogue.clock.now()) };
        catalogue.project(&[(Event::StockChanged { stock }, product.id, version)]).await;
        let shown = catalogue.get(&path(product.id)).await.expect(200).json;
        let found = (&shown["available"], &shown["in_stock"]);
        assert_eq!(found, (&json!(available), &json!(available > 0)), "{held} of {on_hand} held");
        for in_stock in [true, false] {
            let list = format!("/v1/catalog/products?in_stock={in_stock}");
            let count =
                catalogue.get(&list).await.expect(200).json["data"].as_array().unwrap().len();
            let is_there = in_stock == (available > 0);
            assert_eq!(count, usize::from(is_there), "{held} of {on_hand} held, {in_stock}");
        }
    }
}
