//! What a lost race costs, and what the projector writes after it.

use std::sync::Arc;

use catalog::Projector;
use futures::FutureExt as _;
use shared::contract::inventory::Event;
use shared::contract::product::Product;
use shared::host::intake::{Failure, Handler as _};
use shared::id::ProductId;
use testkit::{Calls, Interference, counted_dynamodb};

use crate::{Catalogue, TABLE, delivery, listed, path, product, stock};

/// Lets another projector list a sale before each of the first `times` puts, which then lose.
fn other_projector(catalogue: &Catalogue, product: &Product, times: u32) -> Arc<Interference> {
    let (client, clock) = (catalogue.dynamo.client.clone(), catalogue.clock.clone());
    let (other, id) = (Projector::new(client, TABLE, clock.clone()), product.id);
    Interference::at("projector.noted", times, move |pass| {
        let (other, now, pass) = (other.clone(), clock.now(), i64::from(pass));
        async move {
            let sold = Event::StockChanged { stock: stock(100 - pass, 1 + pass, now) };
            let sold = delivery(&sold, id, 100 + pass, now);
            other.handle(&[sold]).await.remove(0).unwrap();
        }
        .boxed()
    })
}

fn renamed(product: &Product) -> Event {
    let renamed = Product { name: "Renamed".to_owned(), version: 2, ..product.clone() };
    Event::ProductUpdated { product: renamed.hashed() }
}

async fn calls_of(catalogue: &mut Catalogue, product: &Product) -> (Result<(), Failure>, Calls) {
    let calls = Calls::default();
    let client = counted_dynamodb(&catalogue.dynamo.client, &calls);
    let projector = Projector::new(client, TABLE, catalogue.clock.clone());
    let change = delivery(&renamed(product), product.id, 2, catalogue.clock.now());
    // Its category is known from the first projection on.
    (projector.handle(&[change]).await.remove(0), calls)
}

async fn shown(catalogue: &Catalogue, id: ProductId) -> (String, i64) {
    let shown = catalogue.get(&path(id)).await.expect(200).json;
    (shown["name"].as_str().unwrap().to_owned(), shown["available"].as_i64().unwrap())
}

#[tokio::test]
async fn each_lost_race_costs_a_projector_one_read_and_one_put() {
    for races in [0, 1, 3, 9] {
        let mut catalogue = Catalogue::new().await;
        let product = listed(&catalogue).await;
        let interference = other_projector(&catalogue, &product, races);
        let (result, calls) = calls_of(&mut catalogue, &product).await;
        assert_eq!(result, Ok(()), "{races} races");
        assert_eq!(interference.take()["projector.put"], races + 1);
        Interference::none();
        let calls = calls.take();
        let count = |operation: &str| calls.get(operation).map_or(0, |usage| usage.calls);
        let each = u64::from(races) + 1;
        assert_eq!((count("BatchGetItem"), count("PutItem")), (each, each), "{races} races");
        let name = ("Renamed".to_owned(), 100 - i64::from(races));
        assert_eq!(
            shown(&catalogue, product.id).await,
            if races == 0 { ("Renamed".to_owned(), 2) } else { name }
        );
    }
}

#[tokio::test]
async fn projector_that_loses_ten_races_leaves_the_event_for_later() {
    let mut catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let interference = other_projector(&catalogue, &product, 1_000);
    let (result, calls) = calls_of(&mut catalogue, &product).await;
    // The other projectors made progress, so the event is not at fault and loses no attempt.
    assert!(matches!(result, Err(Failure::Unavailable(_))), "{result:?}");
    assert_eq!(interference.take()["projector.put"], 10);
    assert_eq!(calls.take()["PutItem"].calls, 10);
    assert_eq!(shown(&catalogue, product.id).await, (product.name.clone(), 90));
    // It loses nothing when it is delivered again.
    Interference::none();
    let (result, _) = calls_of(&mut catalogue, &product).await;
    assert_eq!((result, shown(&catalogue, product.id).await), (Ok(()), ("Renamed".to_owned(), 90)));
}

#[tokio::test]
async fn listing_that_another_projector_creates_first_is_kept() {
    let mut catalogue = Catalogue::new().await;
    let now = catalogue.clock.now();
    let product = product(catalogue.ids.next(now), now);
    let (client, clock) = (catalogue.dynamo.client.clone(), catalogue.clock.clone());
    let (other, created) = (Projector::new(client, TABLE, clock), product.clone());
    let interference = Interference::at("projector.noted", 1, move |_| {
        let (other, product) = (other.clone(), created.clone());
        async move {
            let id = product.id;
            let created = Event::ProductCreated { product, stock: stock(2, 1, now) };
            other.handle(&[delivery(&created, id, 1, now)]).await.remove(0).unwrap();
        }
        .boxed()
    });
    // The change of a product that is not listed yet.
    let (result, _) = calls_of(&mut catalogue, &product).await;
    assert_eq!((result, interference.take()["projector.put"]), (Ok(()), 2));
    assert_eq!(shown(&catalogue, product.id).await, ("Renamed".to_owned(), 2));
}

#[tokio::test]
async fn event_that_becomes_old_in_a_race_is_not_written() {
    let mut catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let (client, clock) = (catalogue.dynamo.client.clone(), catalogue.clock.clone());
    let (other, newest) = (Projector::new(client, TABLE, clock.clone()), product.clone());
    let interference = Interference::at("projector.noted", 1, move |_| {
        let newest = Product { name: "Newest".to_owned(), version: 3, ..newest.clone() };
        let (other, now, id) = (other.clone(), clock.now(), newest.id);
        async move {
            let newest = Event::ProductUpdated { product: newest.hashed() };
            other.handle(&[delivery(&newest, id, 3, now)]).await.remove(0).unwrap();
        }
        .boxed()
    });
    let (result, calls) = calls_of(&mut catalogue, &product).await;
    assert_eq!(result, Ok(()));
    assert_eq!(interference.take()["projector.put"], 1);
    assert_eq!(calls.take()["PutItem"].calls, 1, "the lost put, and none after it");
    assert_eq!(shown(&catalogue, product.id).await.0, "Newest");
}

#[tokio::test]
async fn store_that_is_out_costs_a_batch_one_call() {
    let catalogue = Catalogue::new().await;
    let product = listed(&catalogue).await;
    let calls = Calls::default();
    let client = counted_dynamodb(&catalogue.dynamo.client, &calls);
    let projector = Projector::new(client, TABLE, catalogue.clock.clone());
    catalogue.dynamo.client.delete_table().table_name(TABLE).send().await.unwrap();
    let now = catalogue.clock.now();
    let batch: Vec<_> =
        (2..50).map(|position| delivery(&renamed(&product), product.id, position, now)).collect();
    let results = projector.handle(&batch).await;
    assert_eq!(results.len(), batch.len());
    assert!(results.iter().all(|it| matches!(it, Err(Failure::Unavailable(_)))), "{results:?}");
    let counted = calls.take();
    assert_eq!(counted.values().map(|usage| usage.calls).sum::<u64>(), 1, "{counted:?}");
}
