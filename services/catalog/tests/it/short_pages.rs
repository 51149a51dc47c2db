//! Lists over a store that reads few items per query, as DynamoDB stops after a megabyte or a filter drops
//! most of them.

use std::sync::{Arc, Mutex};

use catalog::App;
use serde_json::json;
use shared::contract::inventory::Event;
use shared::contract::product::Product;
use shared::money::Money;
use testkit::{BuyersList, edited_dynamodb};

use crate::list_products::{pages, shown};
use crate::{Catalogue, SEED, TABLE, filled, product, stock};

/// The limit of each query.
type Limits = Arc<Mutex<Vec<i64>>>;

/// Lets no query of the catalogue read more than `most` items, and records the limits that queries have.
fn read_at_most(catalogue: &mut Catalogue, most: i64) -> Limits {
    let limits = Limits::default();
    let recorded = Arc::clone(&limits);
    let client = edited_dynamodb(&catalogue.dynamo.client, move |operation, sent| {
        if operation == "Query" {
            let limit = sent["Limit"].as_i64().unwrap();
            recorded.lock().unwrap().push(limit);
            sent["Limit"] = json!(limit.min(most));
        }
    });
    catalogue.router = catalogue.serving(App::new(client, TABLE, "BRL".parse().unwrap()));
    limits
}

#[tokio::test]
async fn short_reads_leave_no_product_out_of_a_list() {
    let mut catalogue = Catalogue::new().await;
    let products = shown(&filled(&catalogue, 30).await);
    let mut turn = 0;
    for most in [1, 2, 5] {
        read_at_most(&mut catalogue, most);
        for sort in ["-created_at", "price", "-price"] {
            for in_stock in [None, Some(true)] {
                for (price_min, price_max) in
                    [(None, None), (Some(100), Some(300)), (Some(450), None), (None, Some(0))]
                {
                    let sort = Some(sort.to_owned());
                    let list = BuyersList {
                        in_stock,
                        price_min,
                        price_max,
                        sort,
                        ..BuyersList::default()
                    };
                    let limit = [1, 3, 100][(turn + turn / 24) % 3];
                    turn += 1;
                    let cards = pages(&catalogue, &list, limit).await;
                    let when = format!("{limit} at once, {most} read at once (seed {SEED})");
                    list.check(&products, &cards, &when);
                }
            }
        }
    }
}

#[tokio::test]
async fn filtered_page_is_short_after_five_queries() {
    let mut catalogue = Catalogue::new().await;
    let mut events = Vec::new();
    // The only product in the range of prices is the oldest.
    for (nth, amount) in (1..).zip([77].into_iter().chain([900; 11])) {
        let now = catalogue.clock.now();
        let price = Money { amount, currency: "BRL".parse().unwrap() };
        let product = Product { price, ..product(catalogue.ids.next(now), now) }.hashed();
        let id = product.id;
        events.push((Event::ProductCreated { product, stock: stock(1, 1, now) }, id, nth));
        catalogue.clock.advance(std::time::Duration::from_secs(1));
    }
    catalogue.project(&events).await;
    let limits = read_at_most(&mut catalogue, 2);
    let list = BuyersList { price_max: Some(100), in_stock: Some(true), ..BuyersList::default() };
    let page = catalogue.get(&list.path(20)).await.expect(200);
    assert_eq!(page.json["data"], json!([]));
    assert_eq!(page.json["page"]["has_more"], json!(true));
    // A thousand items of a partition in all.
    assert_eq!(std::mem::take(&mut *limits.lock().unwrap()), [200; 5]);
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    let page = catalogue.get(&next).await.expect(200);
    assert_eq!(page.json["data"][0]["id"], json!(events[0].1), "{}", page.text);
    assert_eq!(page.json["page"]["has_more"], json!(false));
    // Without a filter, a query asks for the page and one item more.
    limits.lock().unwrap().clear();
    catalogue.get(&BuyersList { price_max: None, ..list }.path(7)).await.expect(200);
    assert_eq!(*limits.lock().unwrap(), [8, 6, 4, 2]);
}
