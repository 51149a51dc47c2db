//! P14 and P15: comparing everything, against reading everything; and what that costs.

mod drift;
mod scan;

use std::time::{Duration, Instant};

use vitrina::client::demo_user::DemoUser;

use super::project::waiting;
use super::scale::thousands;
use super::{CONNECTIONS, Outcome, rounds};
use crate::chart::{Chart, Kind};
use crate::edition::{Edition, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::closed_loop;
use crate::number::{figure, median};
use crate::product::creates;
use crate::reconciler::{self, Passed};
use crate::snapshot;
use crate::world::World;

pub(crate) const WHAT: &str = "reconcile everything, 1,000 differences";

pub(crate) const COST: &str = "what reconciling costs";

/// Everything but reconciliation, which has a process of its own.
const ROLES: &str = "inventory,relay,catalog,projector,identity";

/// Differences that are planted for each round.
const DRIFTED: u64 = 1_000;

/// P14: how fast, whether all is found and mended, and in how much memory.
pub(crate) async fn measure(world: &World) -> anyhow::Result<Outcome> {
    let (mut times, mut figures) = (Vec::new(), Vec::new());
    let sizes = world.sizes();
    for products in &sizes {
        let last = Some(products) == sizes.last();
        let seen = reconcile(world, *products, if last { world.rounds } else { 1 }).await?;
        let seconds: Vec<f64> = seen.passes.iter().map(|passed| passed.seconds).collect();
        times.push((figure(*products), median(&seconds).unwrap_or_default()));
        if last {
            figures = judged(*products, &seen);
        }
    }
    let chart = Chart {
        name: "reconcile",
        title: "A whole pass with 1,000 differences, by the number of products".to_owned(),
        unit: "s",
        kind: Kind::Lines {
            axis: "products",
            series: vec![("flat out".to_owned(), times)],
            logarithmic: true,
        },
    };
    Ok(Outcome { figures, charts: vec![chart] })
}

/// What reconciling some number of products showed.
struct Seen {
    samples: Vec<Sample>,
    passes: Vec<Passed>,
    /// After the last of them, when everything was mended.
    again: Passed,
}

async fn reconcile(world: &World, products: u64, times: u32) -> anyhow::Result<Seen> {
    let folder = snapshot::copy(world, products).await?;
    let edition = Edition::at(folder.path(), ROLES).await?;
    let size = thousands(products);
    let (mut samples, mut passes) = (Vec::new(), Vec::new());
    for round in 1..=times {
        world.watch.now(&format!("P14: {size} products, round {round} of {times}"));
        let rows = scan::rows(&edition, products).await?;
        let listings = scan::listings(&edition).await?.rate;
        drift::plant(&edition, products, DRIFTED, u64::from(round)).await?;
        let passed = reconciler::pass(&edition).await?;
        settle(&edition).await?;
        let ours = f64::from(u32::try_from(passed.compared)?) / passed.seconds;
        samples.push(Sample::new(Stat::of(rows.min(listings)), Stat::of(ours)));
        passes.push(passed);
    }
    let again = reconciler::pass(&edition).await?;
    Ok(Seen { samples, passes, again })
}

/// Waits until every repair has reached its listing.
async fn settle(edition: &Edition) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let pending: i64 = sqlx::query_scalar(
            "select (select count(*) from inventory.outbox)
                  + (select count(*) from inventory.repair_requests)",
        )
        .fetch_one(&edition.pool)
        .await?;
        if pending == 0 && waiting(edition).await? == 0 {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_mins(15), "repairs do not arrive");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn judged(products: u64, seen: &Seen) -> Vec<Figure> {
    let of_each = |of: fn(&Passed) -> i64| {
        let value = |passed| f64::from(i32::try_from(of(passed)).unwrap_or(i32::MAX));
        seen.passes.iter().map(|passed| Sample::alone(Stat::of(value(passed)))).collect()
    };
    let planted = figure(DRIFTED);
    let exactly = vec![
        Bound::AtLeast(Measure::Value(""), planted),
        Bound::AtMost(Measure::Value(""), planted),
    ];
    let again = f64::from(i32::try_from(seen.again.differences()).unwrap_or(i32::MAX));
    let memory = seen.passes.iter().map(|passed| Sample::alone(Stat::of(passed.memory)));
    vec![
        Figure {
            what: format!("reconcile {} products, flat out", thousands(products)),
            unit: "/s",
            bounds: vec![Bound::AtLeast(Measure::Ratio, 0.8)],
            samples: seen.samples.clone(),
            note: Some("the ceiling is the slower of the two scans".to_owned()),
        },
        Figure {
            what: "found of 1,000 differences".to_owned(),
            bounds: exactly.clone(),
            samples: of_each(Passed::differences),
            ..Figure::default()
        },
        Figure {
            what: "announced again of 1,000".to_owned(),
            bounds: exactly,
            samples: of_each(|passed| passed.repaired),
            ..Figure::default()
        },
        Figure {
            what: "differences in the pass after it".to_owned(),
            bounds: vec![Bound::AtMost(Measure::Value(""), 0.0)],
            samples: vec![Sample::alone(Stat::of(again))],
            ..Figure::default()
        },
        Figure {
            what: "memory of the reconciler".to_owned(),
            unit: "MiB",
            bounds: vec![Bound::AtMost(Measure::Value("MiB"), 128.0)],
            samples: memory.collect(),
            note: None,
        },
    ]
}

/// P15: read units against those of one scan, and what sellers feel of the pass in the background.
pub(crate) async fn measure_cost(world: &World) -> anyhow::Result<Outcome> {
    let products = world.sizes().into_iter().max().unwrap_or(10_000);
    let folder = snapshot::copy(world, products).await?;
    let edition = Edition::at(folder.path(), WRITE_API).await?;
    world.watch.now("P15: counting read units");
    let scanned = scan::listings(&edition).await?;
    let passed = reconciler::pass(&edition).await?;
    let units = Sample::new(Stat::of(scanned.read_units), Stat::of(passed.read_units));
    let seen = rounds(world, "P15", async || {
        let token = edition.token(DemoUser::Seller).await?;
        let create = || creates(edition.api, &token, CONNECTIONS, world.seconds);
        edition.checkpoint().await?;
        let undisturbed = closed_loop(&create()).await?.stat();
        edition.checkpoint().await?;
        // What it does in a minute it does in the first moments, so a round has all of it.
        sqlx::query("update sync.buckets set checked_at = null").execute(&edition.pool).await?;
        let mut other = reconciler::background(&edition)?;
        let disturbed = closed_loop(&create()).await?.stat();
        other.kill().await?;
        Ok(Sample::new(undisturbed, disturbed))
    })
    .await?;
    Ok(Outcome::from(vec![
        Figure {
            what: format!("read units of a pass over {} products", thousands(products)),
            unit: "units",
            bounds: vec![Bound::AtMost(Measure::Ratio, 1.05)],
            samples: vec![units],
            note: Some("against one scan; no differences, so no repairs".to_owned()),
        },
        Figure {
            what: "create rate beside the pass in the background".to_owned(),
            unit: "/s",
            bounds: vec![Bound::AtLeast(Measure::Ratio, 0.9)],
            samples: seen,
            note: Some("against the rate without it".to_owned()),
        },
    ]))
}
