//! P8 and P9: whether ten, a hundred thousand or a million products make a difference.

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
use crate::snapshot;
use crate::world::World;

pub(crate) const PAGES: &str = "page rate, by the number of products";

pub(crate) const CREATES: &str = "create rate, by the number of products";

/// The page that is asked for by its cursor, or the last one where there are fewer.
const DEEP: usize = 1_000;

/// Lists that are told apart by a greatest price which nothing reaches, so that no cache has a page
/// that is asked for, and how many pages around the deep one each of them gives.
const LISTS: u64 = 8;
const AROUND: usize = 400;

/// So many turns through these pages pass before one is asked for in the same way again.
const ZEROS: usize = 40;

/// An edition on many products.
struct Sized {
    products: u64,
    edition: Edition,
    // Goes after the edition.
    _folder: TempDir,
}

async fn start(
    world: &World,
    roles: &str,
    copy: impl AsyncFn(&World, u64) -> anyhow::Result<TempDir>,
) -> anyhow::Result<Vec<Sized>> {
    let mut editions = Vec::new();
    for products in world.sizes() {
        let folder = copy(world, products).await?;
        let edition = Edition::at(folder.path(), roles).await?;
        editions.push(Sized { products, edition, _folder: folder });
    }
    Ok(editions)
}

/// P8: the first page and the thousandth, each against the first of ten thousand products.
pub(crate) async fn measure_pages(world: &World) -> anyhow::Result<Outcome> {
    let editions = start(world, READ_API, snapshot::copy_listings).await?;
    let mut cursors = Vec::new();
    for sized in &editions {
        world.watch.now(&format!("P8: turning the pages of {} products", sized.products));
        cursors.push(deep_pages(&sized.edition).await?);
    }
    let seen = rounds(world, "P8", async || {
        let mut stats: Vec<[Stat; 2]> = Vec::new();
        for (sized, deep) in editions.iter().zip(&cursors) {
            let first = |number| format!("{}&limit=20", list(number));
            let first = closed_loop(&pages(world, sized.edition.api, first)).await?;
            let deep = deep.clone();
            let nth = move |number: u64| {
                let place = usize::try_from(number).unwrap_or(0);
                // More zeros are the same number, and a page that no cache knows.
                let zeros = "0".repeat(1 + place / deep.len() % ZEROS);
                format!("{}&price_min={zeros}", deep[place % deep.len()])
            };
            let deep = closed_loop(&pages(world, sized.edition.api, nth)).await?;
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
                    "the ceiling is the first page of 10 k; as 10 k have 450 pages, theirs are of \
                     the last quarter"
                        .to_owned()
                }),
            });
        }
    }
    let points = |page: usize| {
        let point = |(nth, sized): (usize, &Sized)| {
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

/// A list that no other number has, and with the same products in it.
fn list(number: u64) -> String {
    let greatest = 9_000_000_000_000 - number % 500_000;
    format!("/v1/catalog/products?in_stock=true&sort=price&price_max={greatest}")
}

/// Pages around the deep one, each with its cursor.
async fn deep_pages(edition: &Edition) -> anyhow::Result<Vec<String>> {
    let client = vitrina::client::Client::new(&edition.server.url)?;
    let mut pages = Vec::new();
    for number in 0..LISTS {
        let list = list(number);
        let (mut path, mut passed, mut around) = (format!("{list}&limit=100"), 0, Vec::new());
        while passed < DEEP + AROUND / 2 {
            let page: serde_json::Value = client.get(&path).await?;
            let Some(cursor) = page["page"]["next_cursor"].as_str() else {
                break;
            };
            let wide = passed + 5 < DEEP - AROUND / 2;
            passed += if path.ends_with("limit=100") { 5 } else { 1 };
            path = format!("{list}&cursor={cursor}&limit={}", if wide { 100 } else { 20 });
            around.push(format!("{list}&cursor={cursor}&limit=20"));
        }
        // The last one may be short; where the list is, its last quarter stands for what is deep.
        let wanted = AROUND.min(around.len() / 4);
        pages.extend(around.into_iter().rev().skip(1).take(wanted));
    }
    anyhow::ensure!(!pages.is_empty(), "there is only one page");
    Ok(pages)
}

/// P9: creates among many products against creates among few.
pub(crate) async fn measure_creates(world: &World) -> anyhow::Result<Outcome> {
    let editions = start(world, WRITE_API, snapshot::copy_rows).await?;
    let seen = rounds(world, "P9", async || {
        let mut stats = Vec::new();
        for sized in &editions {
            sized.edition.checkpoint().await?;
            let token = sized.edition.token(DemoUser::Seller).await?;
            let load = creates(sized.edition.api, &token, CONNECTIONS, world.seconds);
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
    let point = |(nth, sized): (usize, &Sized)| {
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

/// As people say it.
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
    fn sizes_are_said_as_people_say_them() {
        assert_eq!((thousands(10_000), thousands(1_000_000)), ("10 k".into(), "1 M".into()));
    }
}
