//! The cost model of the AWS edition: calls to AWS, counted on the wire of a real run, times the list
//! prices.

#![expect(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a failed unwrap fails the test, and estimates are not amounts owed"
)]

mod model;
mod prices;
mod report;
mod usage;

use std::path::Path;

use model::{Counts, Model, UnitUsage, total};
use prices::{Prices, Workloads};
use shared::config::Settings;
use usage::CountedEdition;

const CREATES: usize = 100;

async fn model() -> Model {
    let workloads = Workloads::read();
    let batch = workloads.batch.into();
    let edition = CountedEdition::start().await;
    let counts = Counts {
        create: UnitUsage::of(&edition.creates(CREATES, batch).await),
        sale: UnitUsage::of(&edition.sales(50, batch).await),
        change: UnitUsage::of(&edition.changes(50, batch).await),
        listing: UnitUsage::of(&edition.pages(20, "/v1/catalog/products?in_stock=true").await),
        listing_of_everything: UnitUsage::of(&edition.pages(20, "/v1/catalog/products").await),
        product: UnitUsage::of(&edition.products(20).await),
    };
    edition.end().await;
    Model { counts, prices: Prices::read(), workloads }
}

#[tokio::test]
async fn costs_meet_their_goals_and_equal_the_published_report() {
    let model = model().await;
    let counts = &model.counts;

    // The assumption of decision 0003: one item, and one entry in each of six indexes.
    let (create, sale) = (&counts.create, &counts.sale);
    assert!((7.0..7.2).contains(&create.writes), "{create:?}");
    assert!((create.events - 1.0).abs() < 1e-9 && (create.batches - 0.1).abs() < 1e-9);
    // Selling one of many pieces changes no index key.
    assert!(sale.writes < 2.2, "{sale:?}");

    let listing = total(&model.reading(&counts.listing, 1e6));
    assert!(listing <= report::LISTINGS, "a million pages cost ${listing:.2}");
    let everything = total(&model.reading(&counts.listing_of_everything, 1e6));
    assert!(everything <= report::LISTINGS, "a million pages of everything cost ${everything:.2}");
    let created = total(&model.propagation(create, 1e6));
    assert!(created <= report::CREATES, "a million creates cost ${created:.2}");

    // A strongly consistent read of one item. Half a unit is a weaker read, which breaks the promise that
    // a product never goes backwards: mend the read, and leave the report as it is.
    let product = &counts.product;
    assert!((product.reads - 1.0).abs() < 1e-9, "a weaker read of one product: {product:?}");

    let report = report::write(&model);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/cost.md");
    if Settings::from_env().text("VITRINA_TEST_WRITE") == Some("1") {
        std::fs::write(path, report).unwrap();
        return;
    }
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == report,
        "the usage of AWS differs from infra/aws/cost.md in\n{}\nFind the change that costs more or less. If it \
         is intended, run VITRINA_TEST_WRITE=1 cargo test -p vitrina --test cost",
        changed_lines(&published, &report)
    );
}

/// The lines that differ, as published and as counted.
fn changed_lines(published: &str, report: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (published.lines().collect(), report.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let added = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(added).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_price_has_a_date_and_a_source() {
    let prices = Prices::read();
    for (name, price) in prices.all() {
        let is_date = |rest: &str| {
            let date = format!("{}{rest}", price.as_of);
            chrono::NaiveDate::parse_from_str(&date, "%Y-%m-%d").is_ok()
        };
        let has_date = is_date("-01") || is_date("-01-01") || price.as_of == "undated";
        assert!(has_date, "{name} has the date {}", price.as_of);
        let has_source = price.source == "none" || price.source.starts_with("https://");
        assert!(has_source, "{name} has the source {}", price.source);
    }
    // The prices that decide the two goals must have a source.
    for name in ["eventbridge-event", "sqs-request", "lambda-request", "lambda-gb-second"] {
        assert!(!prices.unsourced().contains(&name), "{name} has no source");
    }
    for name in ["dynamodb-write-unit", "dynamodb-read-unit", "http-api-request"] {
        assert!(!prices.unsourced().contains(&name), "{name} has no source");
    }
}
