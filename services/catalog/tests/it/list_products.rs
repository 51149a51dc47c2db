//! Lists, compared with a plain filter and sort of all products.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::contract::inventory::Event;
use shared::contract::listing::key_of;
use shared::contract::product::{Product, Status};
use shared::id::{ProductId, SellerId};
use testkit::{BuyersList, Call, TestResponse};

use catalog::App;

use crate::{Catalogue, Expected, SEED, TABLE, filled, product, stock};

/// The cards of all pages of a list.
pub(crate) async fn pages(catalogue: &Catalogue, list: &BuyersList, limit: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut path = list.path(limit);
    loop {
        let page = catalogue.get(&path).await.expect(200);
        let data = page.json["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        found.extend(data.iter().cloned());
        if page.json["page"]["has_more"] == json!(false) {
            assert_eq!(page.header("link"), "");
            return found;
        }
        page.header("link").split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
        assert!(found.len() < 10_000, "the pages of {list:?} do not end");
    }
}

/// The listed ones among `all`, as the model of lists reads them.
pub(crate) fn shown(all: &[Expected]) -> Vec<Value> {
    let shown = all.iter().filter(|it| it.product.status == Status::Active);
    let document = |it: &Expected| {
        let mut product = json!(it.product);
        product["in_stock"] = json!(it.on_hand > 0);
        product
    };
    shown.map(document).collect()
}

#[tokio::test]
async fn every_combination_of_filters_matches_a_plain_sort() {
    let catalogue = Catalogue::new().await;
    let products = shown(&filled(&catalogue, 150).await);
    let all = BuyersList::default();
    let scopes = [
        BuyersList { category: Some("shoes".to_owned()), ..all.clone() },
        BuyersList { seller: Some(SellerId::from_u128(2).to_string()), ..all.clone() },
        all.clone(),
    ];
    let ranges = [
        (Some(300), Some(100)),
        (None, None),
        (Some(100), Some(300)),
        (Some(0), Some(0)),
        (Some(400), None),
        (None, Some(150)),
    ];
    for scope in scopes {
        for currency in ["BRL", "EUR"] {
            for in_stock in [None, Some(true), Some(false)] {
                for (price_min, price_max) in ranges {
                    for sort in [
                        None,
                        Some("price".to_owned()),
                        Some("-price".to_owned()),
                        Some("-created_at".to_owned()),
                    ] {
                        let currency = Some(currency.to_owned());
                        let (scope, limit) = (scope.clone(), if scope == all { 7 } else { 20 });
                        let list =
                            BuyersList { currency, in_stock, price_min, price_max, sort, ..scope };
                        let cards = pages(&catalogue, &list, limit).await;
                        list.check(&products, &cards, &format!("(seed {SEED})"));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn card_has_the_fields_of_a_list() {
    let catalogue = Catalogue::new().await;
    let all = filled(&catalogue, 20).await;
    for card in pages(&catalogue, &BuyersList::default(), 100).await {
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
async fn damaged_and_copied_listings_are_skipped() {
    let catalogue = Catalogue::new().await;
    let all = filled(&catalogue, 20).await;
    let all_of = BuyersList::default();
    let shoes = BuyersList { category: Some("shoes".to_owned()), ..BuyersList::default() };
    let lists = [
        all_of.clone(),
        BuyersList { sort: Some("price".to_owned()), ..all_of },
        shoes.clone(),
        BuyersList { sort: Some("-price".to_owned()), ..shoes.clone() },
    ];
    let mut before = Vec::new();
    for list in &lists {
        before.push(pages(&catalogue, list, 3).await);
    }
    let shown = |nth: usize| before[2][nth]["id"].as_str().unwrap().parse::<ProductId>().unwrap();
    let [nameless, copied] = [shown(0), shown(1)];
    assert!(all.len() > before[2].len() && before[2].len() > 2);

    let client = &catalogue.dynamo.client;
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
    for (list, before) in lists.iter().zip(&before) {
        let left = before.iter().filter(|card| card["id"] != json!(nameless));
        let after = pages(&catalogue, list, 3).await;
        assert_eq!(after.iter().collect::<Vec<_>>(), left.collect::<Vec<_>>(), "{list:?}");
    }
    // Its sort key is that of a high price and its amount is 0. Believed, the next page would start
    // over, and the list would never end.
    let mut cheap = item(shown(2)).await;
    cheap.insert("amount".to_owned(), AttributeValue::N("0".to_owned()));
    put(cheap).await;
    for limit in [1, 2, 3] {
        let list = BuyersList { sort: Some("price".to_owned()), ..shoes.clone() };
        let found = pages(&catalogue, &list, limit).await;
        assert!(found.len() < before[2].len(), "with {limit} at once: {}", found.len());
    }
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let catalogue = Catalogue::new().await;
    filled(&catalogue, 30).await;
    let seller = SellerId::from_u128(2);
    let (invalid, malformed) = ((422, "invalid_request"), (400, "malformed_request"));
    for (query, expected) in [
        (format!("category=shoes&seller={seller}"), invalid),
        ("price_min=-1".to_owned(), invalid),
        ("price_max=-1".to_owned(), invalid),
        ("limit=0".to_owned(), malformed),
        ("limit=101".to_owned(), malformed),
        ("sort=name".to_owned(), malformed),
        ("currency=brl".to_owned(), malformed),
        ("in_stock=maybe".to_owned(), malformed),
        ("seller=me".to_owned(), malformed),
        (format!("seller=urn:uuid:{seller}"), malformed),
        ("unknown=1".to_owned(), malformed),
        (format!("category={}", "x".repeat(65)), invalid),
        ("limit=1&limit=2".to_owned(), malformed),
    ] {
        let refused = catalogue.get(&format!("/v1/catalog/products?{query}")).await;
        let found = (refused.status.as_u16(), refused.code());
        assert_eq!(found, expected, "{query}: {}", refused.text);
        let name = query.split('=').next().unwrap();
        if expected == invalid {
            let errors = refused.json["errors"].as_array().unwrap();
            let pointers: Vec<&Value> = errors.iter().map(|error| &error["pointer"]).collect();
            assert_eq!(pointers, [name], "{query}");
        } else {
            let detail = refused.json["detail"].as_str().unwrap();
            assert!(detail.contains(name), "{query}: {detail}");
        }
    }
    let broken = catalogue.get("/v1/catalog/products?cursor=nonsense").await.expect(400);
    assert_eq!(broken.code(), "invalid_cursor");
    let page = catalogue.get("/v1/catalog/products?limit=2&sort=price").await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    for other in ["sort=-price", "sort=price&currency=EUR", "sort=price&in_stock=true", ""] {
        let path = format!("/v1/catalog/products?{other}&cursor={cursor}");
        assert_eq!(catalogue.get(&path).await.code(), "invalid_cursor", "{other}");
    }
}

#[tokio::test]
async fn full_last_page_has_no_next_page() {
    let catalogue = Catalogue::new().await;
    let all = filled(&catalogue, 40).await;
    for in_stock in [Some(true), None] {
        let list = BuyersList { in_stock, ..BuyersList::default() };
        let count = list.expected(&shown(&all)).len();
        let page = catalogue.get(&list.path(count)).await.expect(200);
        assert_eq!(page.json["data"].as_array().unwrap().len(), count);
        assert_eq!(page.json["page"]["has_more"], json!(false), "{list:?}");
    }
}

#[tokio::test]
async fn page_is_cached_until_it_expires() {
    let catalogue = Catalogue::new().await;
    let list = "/v1/catalog/products?limit=5";
    let (caching, expiring) =
        (catalogue.caching_pages(Duration::from_hours(1)), catalogue.caching_pages(Duration::ZERO));
    let count = |response: &TestResponse| response.json["data"].as_array().unwrap().len();
    for router in [&caching, &expiring] {
        assert_eq!(count(&Call::get(list).send(router).await.expect(200)), 0);
    }
    let now = catalogue.clock.now();
    let id = catalogue.ids.next(now);
    let created = Event::ProductCreated { product: product(id, now), stock: stock(1, 1, now) };
    catalogue.project(&[(created, id, 1)]).await;
    let before = Call::get(list).send(&caching).await.expect(200);
    assert_eq!(count(&before), 0);
    assert_eq!(before.header("cache-control"), "public, max-age=1");
    assert_eq!(count(&Call::get(list).send(&expiring).await), 1);
    // Other parameters are another page, and a single product is never cached.
    assert_eq!(count(&Call::get("/v1/catalog/products?limit=6").send(&caching).await), 1);
    let one = format!("/v1/catalog/products/{id}?min_version=1");
    Call::get(&one).send(&caching).await.expect(200);
    Call::get("/v1/catalog/products?limit=0").send(&caching).await.expect(400);
}

#[tokio::test]
async fn page_links_to_the_next_with_the_same_filters() {
    let catalogue = Catalogue::new().await;
    filled(&catalogue, 20).await;
    let list = "/v1/catalog/products?sort=price&limit=2";
    let page = catalogue.get(list).await.expect(200);
    let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
    assert_eq!(page.json["page"], json!({"next_cursor": cursor, "has_more": true}));
    assert_eq!(page.header("link"), format!("<{list}&cursor={cursor}>; rel=\"next\""));
    assert_eq!(page.header("cache-control"), "public, max-age=1");
}

#[tokio::test]
async fn every_fault_of_the_filters_is_reported_by_name() {
    let catalogue = Catalogue::new().await;
    let (slug, seller) = ("x".repeat(65), SellerId::from_u128(2));
    let filters = format!("category={slug}&seller={seller}&price_min=-1&price_max=-2");
    let refused = catalogue.get(&format!("/v1/catalog/products?{filters}")).await.expect(422);
    let fault = |pointer: &str, detail: &str| json!({"pointer": pointer, "code": "invalid", "detail": detail});
    let expected = [
        fault("category", "cannot be combined with seller"),
        fault("price_min", "must not be below 0"),
        fault("price_max", "must not be below 0"),
        fault("category", "is not a valid category slug"),
    ];
    assert_eq!(refused.json["errors"], json!(expected));
}

#[tokio::test]
async fn list_without_a_currency_has_that_of_the_marketplace() {
    let mut catalogue = Catalogue::new().await;
    let products = shown(&filled(&catalogue, 40).await);
    for (own, other) in [("EUR", "BRL"), ("BRL", "EUR")] {
        let app = App::new(catalogue.dynamo.client.clone(), TABLE, own.parse().unwrap());
        catalogue.router = catalogue.serving(app);
        let list = BuyersList { currency: Some(own.to_owned()), ..BuyersList::default() };
        let cards = pages(&catalogue, &BuyersList::default(), 3).await;
        assert!(cards.len() > 3);
        list.check(&products, &cards, &format!("by default (seed {SEED})"));
        // A cursor of the default is one of the same list with the currency, and of no other.
        let page = catalogue.get(&BuyersList::default().path(2)).await.expect(200);
        let cursor = page.json["page"]["next_cursor"].as_str().unwrap();
        let path = list.path(2);
        catalogue.get(&format!("{path}&cursor={cursor}")).await.expect(200);
        let path = path.replace(own, other);
        let refused = catalogue.get(&format!("{path}&cursor={cursor}")).await.expect(400);
        assert_eq!(refused.code(), "invalid_cursor");
    }
}

#[tokio::test]
async fn category_with_the_longest_slug_is_listed() {
    let catalogue = Catalogue::new().await;
    let now = catalogue.clock.now();
    let slug = "x".repeat(64);
    let product = Product { category: slug.clone(), ..product(catalogue.ids.next(now), now) };
    let (product, id) = (product.clone().hashed(), product.id);
    catalogue.project(&[(Event::ProductCreated { product, stock: stock(1, 1, now) }, id, 1)]).await;
    let page = catalogue.get(&format!("/v1/catalog/products?category={slug}")).await.expect(200);
    assert_eq!(page.json["data"][0]["id"], json!(id), "{}", page.text);
    let categories = catalogue.get("/v1/catalog/categories").await.expect(200);
    assert_eq!(categories.json["data"], json!([{"slug": slug}]));
}
