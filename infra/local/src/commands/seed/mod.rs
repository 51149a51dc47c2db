//! `vitrina seed`: creates demo products, through the same API as any client.
//!
//! Promise: every product that a run reports exists once, whatever failed on the way. A second run
//! adds to the first.

pub(crate) mod products;
mod sellers;
mod words;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::HumanCount;
use serde_json::value::RawValue;
use shared::clock::Clock;
use shared::config::Settings;
use shared::id::Ids;
use shared::money::Currency;
use uuid::Uuid;

use crate::client::batch::{self, CONCURRENCY, MAX_ITEMS};
use crate::client::{Client, Sentence};
use crate::console::exit::OK;
use crate::console::global::Global;
use crate::console::output::{print, say};
use crate::console::progress::{Progress, Style, Unit};
use crate::edition::data_folder::DataFolder;
use crate::edition::parts::identity::IDENTITY;

#[derive(Args, Clone, Debug)]
pub(crate) struct SeedArgs {
    /// Number of products
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    products: u64,
    /// Number of sellers that share them; the first is the demo seller
    #[arg(long, value_name = "M", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    sellers: u32,
    /// Random seed; the same seed repeats the products under new SKUs
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(global: &Global, args: SeedArgs) -> anyhow::Result<u8> {
    let style = Style::read(&Settings::from_env());
    let folder = DataFolder::at(&global.data)?;
    let mut running = folder.find_running()?;
    if args.sellers > 1 {
        // All sellers but the first sign up and log in.
        running = folder.find_running_with(IDENTITY)?;
        say(&format!("logging in {} sellers", HumanCount(args.sellers.into())));
    }
    let sellers = sellers::log_in(&folder, &running, args.sellers).await?;

    let run = Run::new(args.seed, running.currency);
    let begun = Instant::now();
    let progress = Progress::begin(style, "seeding", args.products, Unit::Items("products"));
    let created = AtomicU64::new(0);
    let result: anyhow::Result<()> = stream::iter(shares(args.products, sellers.len()))
        .map(|share| {
            let (seller, run) = (&sellers[share.seller], &run);
            async move { run.create(seller, &share).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|more| {
            created.fetch_add(more, Ordering::Relaxed);
            progress.add(more);
            async { Ok(()) }
        })
        .await;
    drop(progress);
    let created = created.into_inner();
    result.with_context(|| format!("seeding stopped after {} products", HumanCount(created)))?;
    print(&summary(created, sellers.len(), begun.elapsed()))?;
    Ok(OK)
}

/// What all batches of a run share.
struct Run {
    seed: u64,
    currency: Currency,
    /// Identifies the run in idempotency keys.
    id: String,
    /// Distinguishes its SKUs from those of other runs.
    tag: String,
}

impl Run {
    fn new(seed: u64, currency: Currency) -> Self {
        let id = Ids::System.next::<Uuid>(Clock::System.now()).simple().to_string();
        // The start of the id is the time, its end is random.
        let tag = id[id.len() - 8..].to_owned();
        Self { seed, currency, id, tag }
    }

    async fn create(&self, seller: &Client, share: &Share) -> anyhow::Result<u64> {
        let items: Vec<Box<RawValue>> = (share.first..share.first + share.count)
            .map(|index| {
                let product = products::product(self.seed, index, self.currency, &self.tag);
                serde_json::value::to_raw_value(&product)
            })
            .collect::<Result<_, _>>()
            .context("writing products as JSON")?;
        let key = format!("seed-{}-{}", self.id, share.first);
        let outcomes = batch::create(seller, &key, &items).await?;
        for (item, outcome) in items.iter().zip(&outcomes) {
            if let Some(problem) = &outcome.problem {
                bail!("{} was refused: {}", item.get(), Sentence(problem));
            }
        }
        Ok(share.count)
    }
}

/// The products of one batch, for one seller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    seller: usize,
    first: u64,
    count: u64,
}

/// Distributes `products` among `sellers` in turns, as evenly as batches allow.
fn shares(products: u64, sellers: usize) -> impl Iterator<Item = Share> {
    let each = products.div_ceil(u64::try_from(sellers).unwrap_or(1).max(1));
    let size = each.clamp(1, MAX_ITEMS as u64);
    (0..products.div_ceil(size)).zip((0..sellers).cycle()).map(move |(turn, seller)| {
        let first = turn * size;
        Share { seller, first, count: size.min(products - first) }
    })
}

fn summary(products: u64, sellers: usize, took: Duration) -> String {
    let millis = took.as_millis().max(1);
    let per_second = u128::from(products) * 1000 / millis;
    format!(
        "{} of {} in {}.{} s ({} per second)",
        count_of(products, "product"),
        count_of(sellers as u64, "seller"),
        millis / 1000,
        millis % 1000 / 100,
        HumanCount(u64::try_from(per_second).unwrap_or(u64::MAX)),
    )
}

fn count_of(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", HumanCount(count))
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use testkit::serve;

    use super::*;

    #[tokio::test]
    async fn refused_product_stops_the_seeding_with_its_reason() {
        let refuse = async |Json(batch): Json<Value>| {
            let items = batch["items"].as_array().unwrap().iter();
            let mut results: Vec<Value> = items.map(|_| json!({"status": 201})).collect();
            results[1] = json!({"status": 409, "problem": {
                "type": "/docs/problems/sku_taken", "title": "Taken", "status": 409,
                "code": "sku_taken", "detail": "", "request_id": Uuid::nil(),
            }});
            Json(json!({"results": results}))
        };
        let router = Router::new().route("/v1/products/batch", post(refuse));
        let client = Client::new(&serve(router).await).unwrap();
        let run = Run::new(7, "EUR".parse().unwrap());
        let share = Share { seller: 0, first: 40, count: 3 };
        let refusal = run.create(&client, &share).await.unwrap_err().to_string();
        let second =
            serde_json::to_value(products::product(7, 41, run.currency, &run.tag)).unwrap();
        assert!(refusal.contains(second["sku"].as_str().unwrap()), "{refusal}");
        assert!(refusal.contains("sku_taken"), "{refusal}");
        assert_eq!(second["price"]["currency"], "EUR");
    }

    #[test]
    fn every_product_is_in_one_batch_of_allowed_size() {
        for (products, sellers) in [(1, 1), (1, 5), (99, 2), (100, 1), (250, 5), (1_001, 3)] {
            let distributed: Vec<Share> = shares(products, sellers).collect();
            let mut next = 0;
            for share in &distributed {
                assert_eq!(share.first, next, "{products} among {sellers}");
                assert!((1..=100).contains(&share.count) && share.seller < sellers);
                next += share.count;
            }
            assert_eq!(next, products);
        }
    }

    #[test]
    fn every_seller_gets_products_if_there_are_enough() {
        let sellers: std::collections::BTreeSet<_> =
            shares(250, 5).map(|share| share.seller).collect();
        assert_eq!(sellers.len(), 5);
    }

    #[test]
    fn summary_has_counts_duration_and_rate() {
        assert_eq!(
            summary(2_000, 3, Duration::from_millis(1_250)),
            "2,000 products of 3 sellers in 1.2 s (1,600 per second)"
        );
        assert_eq!(
            summary(1, 1, Duration::ZERO),
            "1 product of 1 seller in 0.0 s (1,000 per second)"
        );
    }
}
