//! P8 and P9: the effect of the number of products on pages and creates.

use tempfile::TempDir;
use vitrina::client::demo_user::DemoUser;

use super::page::pages;
use super::{CONNECTIONS, Outcome, rounds};
use crate::chart::{Chart, Kind};
use crate::edition::{Edition, READ_API, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::closed_loop;
use crate::number::{figure, median};
use crate::product::creates;
use crate::setup::Setup;
use crate::snapshot;

pub(crate) const PAGES: &str = "page rate, by the number of products";

pub(crate) const CREATES: &str = "create rate, by the number of products";

/// The number of the deep page.
const DEEP: usize = 1_000;

/// Lists with the same products. They differ in a maximum price that no product reaches, so that no
/// cache has the requested page. Each list supplies `PAGES_AROUND` pages around the deep one.
const LISTS: u64 = 8;
const PAGES_AROUND: usize = 400;

/// Number of spellings of the same minimum price. Each spelling misses the cache.
const ZEROS: usize = 40;

/// An edition with this number of products.
struct LoadedEdition {
    products: u64,
    edition: Edition,
    // Declared last: it must be removed after the edition.
    _folder: TempDir,
}

async fn start(
    setup: &Setup,
    parts: &str,
    copy: impl AsyncFn(&Setup, u64) -> anyhow::Result<TempDir>,
) -> anyhow::Result<Vec<LoadedEdition>> {
    let mut editions = Vec::new();
    for products in setup.sizes() {
        let folder = copy(setup, products).await?;
        let edition = Edition::at(folder.path(), parts).await?;
        editions.push(LoadedEdition { products, edition, _folder: folder });
    }
    Ok(editions)
}

/// P8: the first and the thousandth page, against the first page of ten thousand products.
pub(crate) async fn measure_pages(setup: &Setup) -> anyhow::Result<Outcome> {
    let editions = start(setup, READ_API, snapshot::copy_listings).await?;
    let mut cursors = Vec::new();
    for sized in &editions {
        setup.progress.now(&format!("P8: reading the pages of {} products", sized.products));
        cursors.push(deep_pages(&sized.edition).await?);
    }
    let seen = rounds(setup, "P8", async || {
        let mut stats: Vec<[Stat; 2]> = Vec::new();
        for (sized, deep) in editions.iter().zip(&cursors) {
            let first = |number| format!("{}&limit=20", list(number));
            let first = closed_loop(&pages(setup, sized.edition.api, first)).await?;
            let deep = deep.clone();
            let nth = move |number: u64| {
                let place = usize::try_from(number).unwrap_or(0);
                // Further zeros do not change the number, but the page is not in the cache.
                let zeros = "0".repeat(1 + place / deep.len() % ZEROS);
                format!("{}&price_min={zeros}", deep[place % deep.len()])
            };
            let deep = closed_loop(&pages(setup, sized.edition.api, nth)).await?;
            stats.push([first.stat(), deep.stat()]);
        }
        Ok(stats)
    })
    .await?;
    let mut figures = Vec::new();
    for (nth, sized) in editions.iter().enumerate() {
        for (page, name) in [(0, "first page"), (1, "page 1,000")] {
            if (nth, page) == (0, 0) {
                continue;
            }
            let samples = seen.iter().map(|round| Sample::new(round[0][0], round[nth][page]));
            figures.push(Figure {
                what: format!("{name} of {} products", thousands(sized.products)),
                unit: "/s",
                bounds: vec![Bound::AtLeast(Measure::Ratio, 0.9)],
                samples: samples.collect(),
                note: (nth == 0).then(|| {
                    "the ceiling is the first page of 10 k; 10 k products have only 450 pages, so \
                     pages of the last quarter are read instead"
                        .to_owned()
                }),
            });
        }
    }
    let points = |page: usize| {
        let point = |(nth, sized): (usize, &LoadedEdition)| {
            let values: Vec<f64> = seen.iter().map(|round| round[nth][page].value).collect();
            (figure(sized.products), median(&values).unwrap_or_default())
        };
        editions.iter().enumerate().map(point).collect::<Vec<_>>()
    };
    let chart = Chart {
        name: "scaling-pages",
        title: "Pages of 20 a second, by the number of products".to_owned(),
        unit: "pages/s",
        kind: Kind::Lines {
            axis: "products",
            series: vec![
                ("first page".to_owned(), points(0)),
                ("page 1,000".to_owned(), points(1)),
            ],
            logarithmic: true,
        },
    };
    Ok(Outcome { figures, charts: vec![chart] })
}

/// The list with this number. Every list has the same products.
fn list(number: u64) -> String {
    let maximum = 9_000_000_000_000 - number % 500_000;
    format!("/v1/catalog/products?in_stock=true&sort=price&price_max={maximum}")
}

/// Paths of the pages around the deep one.
async fn deep_pages(edition: &Edition) -> anyhow::Result<Vec<String>> {
    let client = vitrina::client::Client::new(&edition.server.url)?;
    let mut pages = Vec::new();
    for number in 0..LISTS {
        let list = list(number);
        let (mut path, mut passed, mut around) = (format!("{list}&limit=100"), 0, Vec::new());
        while passed < DEEP + PAGES_AROUND / 2 {
            let page: serde_json::Value = client.get(&path).await?;
            let Some(cursor) = page["page"]["next_cursor"].as_str() else {
                break;
            };
            let wide = passed + 5 < DEEP - PAGES_AROUND / 2;
            passed += if path.ends_with("limit=100") { 5 } else { 1 };
            path = format!("{list}&cursor={cursor}&limit={}", if wide { 100 } else { 20 });
            around.push(format!("{list}&cursor={cursor}&limit=20"));
        }
        // Skips the last page, which may be short. A short list supplies its last quarter.
        let wanted = PAGES_AROUND.min(around.len() / 4);
        pages.extend(around.into_iter().rev().skip(1).take(wanted));
    }
    anyhow::ensure!(!pages.is_empty(), "there is only one page");
    Ok(pages)
}

/// P9: creates with many products against creates with ten thousand.
pub(crate) async fn measure_creates(setup: &Setup) -> anyhow::Result<Outcome> {
    let editions = start(setup, WRITE_API, snapshot::copy_rows).await?;
    let seen = rounds(setup, "P9", async || {
        let mut stats = Vec::new();
        for sized in &editions {
            sized.edition.checkpoint().await?;
            let token = sized.edition.token(DemoUser::Seller).await?;
            let load = creates(sized.edition.api, &token, CONNECTIONS, setup.seconds);
            stats.push(closed_loop(&load).await?.stat());
        }
        Ok(stats)
    })
    .await?;
    let figures = editions.iter().enumerate().skip(1).map(|(nth, sized)| Figure {
        what: format!("create among {} products, against 10 k", thousands(sized.products)),
        unit: "/s",
        bounds: vec![Bound::AtLeast(Measure::Ratio, 0.8)],
        samples: seen.iter().map(|round| Sample::new(round[0], round[nth])).collect(),
        note: None,
    });
    let point = |(nth, sized): (usize, &LoadedEdition)| {
        let values: Vec<f64> = seen.iter().map(|round| round[nth].value).collect();
        (figure(sized.products), median(&values).unwrap_or_default())
    };
    let series = vec![("create".to_owned(), editions.iter().enumerate().map(point).collect())];
    let chart = Chart {
        name: "scaling-creates",
        title: "Creates a second, by the number of products".to_owned(),
        unit: "creates/s",
        kind: Kind::Lines { axis: "products", series, logarithmic: true },
    };
    Ok(Outcome { figures: figures.collect(), charts: vec![chart] })
}

/// A short form of a number, such as `10 k`.
pub(super) fn thousands(products: u64) -> String {
    match products {
        million if million >= 1_000_000 && million % 1_000_000 == 0 => {
            format!("{} M", million / 1_000_000)
        }
        other => format!("{} k", other / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shortened_to_thousands_and_millions() {
        assert_eq!((thousands(10_000), thousands(1_000_000)), ("10 k".into(), "1 M".into()));
    }
}
