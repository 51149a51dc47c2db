//! What the AWS edition costs: what the real way of a change and of a page asks of AWS, counted on the
//! wire, times the list prices.

#![expect(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a test that cannot go on has failed, and estimates are no money that anybody is owed"
)]

mod counted;
mod model;
mod page;
mod prices;

use std::path::Path;

use counted::World;
use model::{Counts, Each, Model, total};
use prices::{Prices, Workloads};
use shared::config::Settings;

const CREATES: usize = 100;

async fn model() -> Model {
    let workloads = Workloads::read();
    let batch = workloads.batch.into();
    let world = World::start().await;
    let counts = Counts {
        create: Each::of(&world.creates(CREATES, batch).await),
        sale: Each::of(&world.sales(50, batch).await),
        change: Each::of(&world.changes(50, batch).await),
        listing: Each::of(&world.pages(20, "/v1/catalog/products?in_stock=true").await),
        listing_of_everything: Each::of(&world.pages(20, "/v1/catalog/products").await),
        product: Each::of(&world.products(20).await),
    };
    world.end().await;
    Model { counts, prices: Prices::read(), workloads }
}

#[tokio::test]
async fn creates_and_pages_cost_what_the_page_says_and_no_more_than_they_may() {
    let model = model().await;
    let counts = &model.counts;

    // What decision 0003 counted on: an item, and an entry in each of six indexes.
    let (create, sale) = (&counts.create, &counts.sale);
    assert!((7.0..7.2).contains(&create.writes), "{create:?}");
    assert!((create.events - 1.0).abs() < 1e-9 && (create.batches - 0.1).abs() < 1e-9);
    // A sale of one of many pieces touches no index.
    assert!(sale.writes < 2.2, "{sale:?}");

    let listing = total(&model.reading(&counts.listing, 1e6));
    assert!(listing <= page::LISTINGS, "a million pages cost ${listing:.2}");
    let everything = total(&model.reading(&counts.listing_of_everything, 1e6));
    assert!(everything <= page::LISTINGS, "a million pages of everything cost ${everything:.2}");
    let created = total(&model.propagation(create, 1e6));
    assert!(created <= page::CREATES, "a million creates cost ${created:.2}");

    let written = page::write(&model);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/cost.md");
    if Settings::from_env().text("VITRINA_TEST_WRITE") == Some("1") {
        std::fs::write(path, written).unwrap();
        return;
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == written,
        "infra/aws/cost.md is out of date: run VITRINA_TEST_WRITE=1 cargo test -p vitrina --test cost"
    );
}

#[test]
fn every_price_says_of_when_it_is_and_where_it_was_read() {
    let prices = Prices::read();
    for (name, price) in prices.all() {
        let is_date = |rest: &str| {
            let date = format!("{}{rest}", price.as_of);
            chrono::NaiveDate::parse_from_str(&date, "%Y-%m-%d").is_ok()
        };
        let is_known = is_date("-01") || is_date("-01-01") || price.as_of == "undated";
        assert!(is_known, "{name} is of {}", price.as_of);
        let is_said = price.source == "none" || price.source.starts_with("https://");
        assert!(is_said, "{name} is from {}", price.source);
    }
    // What the two goals rest on is not from memory.
    for name in ["eventbridge-event", "sqs-request", "lambda-request", "lambda-gb-second"] {
        assert!(!prices.unsourced().contains(&name), "{name} is from memory");
    }
    for name in ["dynamodb-write-unit", "dynamodb-read-unit", "http-api-request"] {
        assert!(!prices.unsourced().contains(&name), "{name} is from memory");
    }
}
