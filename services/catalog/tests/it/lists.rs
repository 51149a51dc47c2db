//! Lists, held against what a plain filter and sort of everything would give.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use shared::contract::events::Event;
use shared::contract::listing::key_of;
use shared::contract::product::{Product, Status};
use shared::money::Money;
use testkit::{Answer, Call};
use uuid::Uuid;

use crate::{TABLE, World, product, stock};

const SEED: u64 = 11;

struct Shown {
    product: Product,
    on_hand: i64,
}

/// A catalogue of products of all kinds, most of which can be seen.
async fn filled(world: &World, count: i64) -> Vec<Shown> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut all = Vec::new();
    let mut events = Vec::new();
    for position in 1..=count {
        world.clock.advance(Duration::from_millis(rng.random_range(0..3)));
        let now = world.clock.now();
        let currency = ["BRL", "BRL", "BRL", "EUR"].choose(&mut rng).unwrap().parse().unwrap();
        let product = Product {
            category: (*["shoes", "hats", "toys"].choose(&mut rng).unwrap()).to_owned(),
            seller_id: Uuid::from_u128(rng.random_range(1..4)),
            // Few amounts, so that many are equal and the id decides.
            price: Money { amount: rng.random_range(0..12) * 50, currency },
            status: *[Status::Active, Status::Active, Status::Active, Status::Draft]
                .choose(&mut rng)
                .unwrap(),
            ..product(world.ids.next(now), now)
        }
        .hashed();
        let on_hand = rng.random_range(0..2);
        let created =
            Event::ProductCreated { product: product.clone(), stock: stock(on_hand, 1, now) };
        events.push((created, product.id, position));
        all.push(Shown { product, on_hand });
    }
    for batch in events.chunks(100) {
        world.project(batch).await;
    }
    all
}

/// Every page of a list, one after the other.
async fn pages(world: &World, query: &str, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = format!("/v1/catalog/products?limit={limit}{query}");
    loop {
        let page = world.get(&path).await.expect(200);
        let data = page.json["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        found.extend(data.iter().cloned());
        if page.json["page"]["has_more"] == json!(false) {
            assert_eq!(page.header("link"), "");
            return found;
        }
        page.header("link").split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
        assert!(found.len() < 10_000, "the pages of {query} do not end");
    }
}

#[tokio::test]
async fn every_combination_of_filters_gives_what_a_plain_sort_of_everything_gives() {
    let world = World::new().await;
    let all = filled(&world, 150).await;
    let scopes = ["", "&category=shoes", "&seller=00000000-0000-0000-0000-000000000002"];
    let ranges = [Some((300, 100)), None, Some((100, 300)), Some((0, 0)), Some((551, 9_999))];
    for scope in scopes {
        for currency in ["BRL", "EUR"] {
            for in_stock in [None, Some(true), Some(false)] {
                for range in ranges {
                    for sort in ["", "price", "-price", "-created_at"] {
                        let in_stock_is = in_stock.map(|wanted| format!("&in_stock={wanted}"));
                        let amounts =
                            range.map(|(min, max)| format!("&price_min={min}&price_max={max}"));
                        let order = (!sort.is_empty()).then(|| format!("&sort={sort}"));
                        let query = [Some(format!("{scope}&currency={currency}"))]
                            .into_iter()
                            .chain([in_stock_is, amounts, order])
                            .flatten()
                            .collect::<String>();
                        let limit = if scope.is_empty() { 7 } else { 20 };
                        let found = pages(&world, &query, limit).await;
                        let expected = plain(&all, scope, currency, in_stock, range, sort);
                        let ids: Vec<&str> =
                            found.iter().map(|card| card["id"].as_str().unwrap()).collect();
                        assert_eq!(ids, expected, "{query} (seed {SEED})");
                    }
                }
            }
        }
    }
}

fn plain(
    all: &[Shown],
    scope: &str,
    currency: &str,
    in_stock: Option<bool>,
    range: Option<(i64, i64)>,
    sort: &str,
) -> Vec<String> {
    let mut found: Vec<&Shown> = all
        .iter()
        .filter(|shown| {
            let product = &shown.product;
            let (min, max) = range.unwrap_or((0, i64::MAX));
            product.status == Status::Active
                && product.price.currency.code() == currency
                && (min..=max).contains(&product.price.amount)
                && in_stock.is_none_or(|wanted| wanted == (shown.on_hand > 0))
                && match scope {
                    "" => true,
                    "&category=shoes" => product.category == "shoes",
                    _ => product.seller_id == Uuid::from_u128(2),
                }
        })
        .collect();
    found.sort_by_key(|shown| {
        let Product { id, price, .. } = &shown.product;
        (if sort.ends_with("price") { price.amount } else { 0 }, *id)
    });
    if sort != "price" {
        found.reverse();
    }
    found.into_iter().map(|shown| shown.product.id.to_string()).collect()
}

#[tokio::test]
async fn a_card_says_what_a_list_needs() {
    let world = World::new().await;
    let all = filled(&world, 20).await;
    for card in pages(&world, "", 100).await {
        let shown = all.iter().find(|shown| card["id"] == json!(shown.product.id)).unwrap();
        let product = &shown.product;
        assert_eq!(
            card,
            json!({
                "id": product.id, "seller_id": product.seller_id, "name": product.name,
                "category": product.category, "price": product.price,
                "in_stock": shown.on_hand > 0, "version": 1, "created_at": product.created_at,
            })
        );
    }
}

#[tokio::test]
async fn a_damaged_listing_and_a_copy_under_another_key_are_left_out_and_hide_nobody() {
    let world = World::new().await;
    let all = filled(&world, 20).await;
    let lists = ["", "&sort=price", "&category=shoes", "&category=shoes&sort=-price"];
    let mut before = Vec::new();
    for list in lists {
        before.push(pages(&world, list, 3).await);
    }
    let shown = |nth: usize| before[2][nth]["id"].as_str().unwrap().parse::<Uuid>().unwrap();
    let [nameless, copied] = [shown(0), shown(1)];
    assert!(all.len() > before[2].len() && before[2].len() > 2);

    let client = &world.dynamo.client;
    let item = async |id| {
        let read = client.get_item().table_name(TABLE).set_key(Some(key_of(id)));
        read.send().await.unwrap().item.unwrap()
    };
    let put = async |item| {
        client.put_item().table_name(TABLE).set_item(Some(item)).send().await.unwrap();
    };
    let mut damaged = item(nameless).await;
    damaged.remove("name");
    put(damaged).await;
    for bucket in ["5000", "1"] {
        let mut copy = item(copied).await;
        copy.insert("bucket".to_owned(), AttributeValue::N(bucket.to_owned()));
        copy.insert("name".to_owned(), AttributeValue::S("Forged".to_owned()));
        put(copy).await;
    }
    for (list, before) in lists.into_iter().zip(&before) {
        let left = before.iter().filter(|card| card["id"] != json!(nameless));
        let after = pages(&world, list, 3).await;
        assert_eq!(after.iter().collect::<Vec<_>>(), left.collect::<Vec<_>>(), "{list}");
    }
    // It lies among the dearest and says that it costs nothing: the next page would begin there again.
    let mut cheap = item(shown(2)).await;
    cheap.insert("amount".to_owned(), AttributeValue::N("0".to_owned()));
    put(cheap).await;
    for limit in [1, 2, 3] {
        let found = pages(&world, "&sort=price&category=shoes", limit).await;
        assert!(found.len() < before[2].len(), "with {limit} at once: {}", found.len());
    }
}

#[tokio::test]
async fn categories_in_use_are_listed_in_order() {
    let world = World::new().await;
    filled(&world, 30).await;
    let categories = world.get("/v1/catalog/categories").await.expect(200);
    let expected = json!([{"slug": "hats"}, {"slug": "shoes"}, {"slug": "toys"}]);
    assert_eq!(categories.json["data"], expected);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused() {
    let world = World::new().await;
    filled(&world, 30).await;
    let seller = Uuid::from_u128(2);
    for (query, status) in [
        (format!("category=shoes&seller={seller}"), 422),
        ("price_min=-1".to_owned(), 422),
        ("price_max=-1".to_owned(), 422),
        ("limit=0".to_owned(), 400),
        ("limit=101".to_owned(), 400),
        ("sort=name".to_owned(), 400),
        ("currency=brl".to_owned(), 400),
        ("in_stock=maybe".to_owned(), 400),
        ("seller=me".to_owned(), 400),
        (format!("seller=urn:uuid:{seller}"), 400),
        ("unknown=1".to_owned(), 400),
        (format!("category={}", "x".repeat(65)), 422),
        ("limit=1&limit=2".to_owned(), 400),
        ("cursor=nonsense".to_owned(), 400),
    ] {
        let refused = world.get(&format!("/v1/catalog/products?{query}")).await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text);
    }
    let page = world.get("/v1/catalog/products?limit=2&sort=price").await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    for other in ["sort=-price", "sort=price&currency=EUR", "sort=price&in_stock=true", ""] {
        let path = format!("/v1/catalog/products?{other}&cursor={cursor}");
        assert_eq!(world.get(&path).await.code(), "invalid_cursor", "{other}");
    }
}

#[tokio::test]
async fn a_last_page_that_is_full_says_that_it_is_the_last() {
    let world = World::new().await;
    let all = filled(&world, 40).await;
    for (query, currency, in_stock) in
        [("currency=BRL&in_stock=true", "BRL", Some(true)), ("currency=BRL", "BRL", None)]
    {
        let count = plain(&all, "", currency, in_stock, None, "").len();
        let path = format!("/v1/catalog/products?{query}&limit={count}");
        let page = world.get(&path).await.expect(200);
        assert_eq!(page.json["data"].as_array().unwrap().len(), count);
        assert_eq!(page.json["page"]["has_more"], json!(false), "{query}");
    }
}

#[tokio::test]
async fn a_page_is_given_out_again_as_it_was_and_made_anew_when_it_is_too_old() {
    let world = World::new().await;
    let list = "/v1/catalog/products?limit=5";
    let (kept, fleeting) =
        (world.keeping_pages(Duration::from_hours(1)), world.keeping_pages(Duration::ZERO));
    let count = |answer: &Answer| answer.json["data"].as_array().unwrap().len();
    for router in [&kept, &fleeting] {
        assert_eq!(count(&Call::get(list).send(router).await.expect(200)), 0);
    }
    let now = world.clock.now();
    let id = world.ids.next(now);
    let created = Event::ProductCreated { product: product(id, now), stock: stock(1, 1, now) };
    world.project(&[(created, id, 1)]).await;
    let before = Call::get(list).send(&kept).await.expect(200);
    assert_eq!(count(&before), 0);
    assert_eq!(before.header("cache-control"), "public, max-age=1");
    assert_eq!(count(&Call::get(list).send(&fleeting).await), 1);
    // Other parameters are another page, and one product is never kept.
    assert_eq!(count(&Call::get("/v1/catalog/products?limit=6").send(&kept).await), 1);
    let one = format!("/v1/catalog/products/{id}?min_version=1");
    Call::get(&one).send(&kept).await.expect(200);
    Call::get("/v1/catalog/products?limit=0").send(&kept).await.expect(400);
}
