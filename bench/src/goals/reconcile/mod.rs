//! P14 and P15: reconciling everything, against reading everything; and its costs.

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
use crate::reconciler::{self, PassReport};
use crate::setup::Setup;
use crate::snapshot;

pub(crate) const WHAT: &str = "reconcile everything, 1,000 differences";

pub(crate) const COST: &str = "the costs of reconciling";

/// All parts except reconciliation, which runs in another process.
const PARTS: &str = "inventory,relay,catalog,projector,identity";

/// Differences to plant for each round.
const DIFFERENCES: u64 = 1_000;

/// P14: the rate, the differences found and repaired, and the memory.
pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let (mut times, mut figures) = (Vec::new(), Vec::new());
    let sizes = setup.sizes();
    for products in &sizes {
        let last = Some(products) == sizes.last();
        let seen = reconcile(setup, *products, if last { setup.rounds } else { 1 }).await?;
        let seconds: Vec<f64> = seen.passes.iter().map(|report| report.seconds).collect();
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
            series: vec![("full speed".to_owned(), times)],
            logarithmic: true,
        },
    };
    Ok(Outcome { figures, charts: vec![chart] })
}

/// The results of reconciling a number of products.
struct Seen {
    samples: Vec<Sample>,
    passes: Vec<PassReport>,
    /// A further pass after all repairs.
    final_pass: PassReport,
}

async fn reconcile(setup: &Setup, products: u64, times: u32) -> anyhow::Result<Seen> {
    let folder = snapshot::copy(setup, products).await?;
    let edition = Edition::at(folder.path(), PARTS).await?;
    let size = thousands(products);
    let (mut samples, mut passes) = (Vec::new(), Vec::new());
    for round in 1..=times {
        setup.progress.now(&format!("P14: {size} products, round {round} of {times}"));
        let rows = scan::rows(&edition, products).await?;
        let listings = scan::listings(&edition).await?.rate;
        drift::plant(&edition, products, DIFFERENCES, u64::from(round)).await?;
        let report = reconciler::pass(&edition).await?;
        settle(&edition).await?;
        let ours = f64::from(u32::try_from(report.findings.compared)?) / report.seconds;
        samples.push(Sample::new(Stat::of(rows.min(listings)), Stat::of(ours)));
        passes.push(report);
    }
    let final_pass = reconciler::pass(&edition).await?;
    Ok(Seen { samples, passes, final_pass })
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
    let of_each = |of: fn(&PassReport) -> i64| {
        let value = |report| f64::from(i32::try_from(of(report)).unwrap_or(i32::MAX));
        seen.passes.iter().map(|report| Sample::alone(Stat::of(value(report)))).collect()
    };
    let planted = figure(DIFFERENCES);
    let exactly = vec![
        Bound::AtLeast(Measure::Value(""), planted),
        Bound::AtMost(Measure::Value(""), planted),
    ];
    let remaining =
        f64::from(i32::try_from(seen.final_pass.findings.differences()).unwrap_or(i32::MAX));
    let memory = seen.passes.iter().map(|report| Sample::alone(Stat::of(report.memory)));
    vec![
        Figure {
            what: format!("reconcile {} products at full speed", thousands(products)),
            unit: "/s",
            bounds: vec![Bound::AtLeast(Measure::Ratio, 0.8)],
            samples: seen.samples.clone(),
            note: Some("the ceiling is the slower of the two scans".to_owned()),
        },
        Figure {
            what: "differences found, of 1,000".to_owned(),
            bounds: exactly.clone(),
            samples: of_each(|report| report.findings.differences()),
            ..Figure::default()
        },
        Figure {
            what: "differences repaired, of 1,000".to_owned(),
            bounds: exactly,
            samples: of_each(|report| report.findings.repaired),
            ..Figure::default()
        },
        Figure {
            what: "differences in the next pass".to_owned(),
            bounds: vec![Bound::AtMost(Measure::Value(""), 0.0)],
            samples: vec![Sample::alone(Stat::of(remaining))],
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

/// P15: read units against those of one scan, and the create rate during a background pass.
pub(crate) async fn measure_cost(setup: &Setup) -> anyhow::Result<Outcome> {
    let products = setup.sizes().into_iter().max().unwrap_or(10_000);
    let folder = snapshot::copy(setup, products).await?;
    let edition = Edition::at(folder.path(), WRITE_API).await?;
    setup.progress.now("P15: counting read units");
    let scanned = scan::listings(&edition).await?;
    let report = reconciler::pass(&edition).await?;
    let units = Sample::new(Stat::of(scanned.read_units), Stat::of(report.read_units));
    let seen = rounds(setup, "P15", async || {
        let token = edition.token(DemoUser::Seller).await?;
        let create = || creates(edition.api, &token, CONNECTIONS, setup.seconds);
        edition.checkpoint().await?;
        let undisturbed = closed_loop(&create()).await?.stat();
        edition.checkpoint().await?;
        // The pass does the work of a minute at once, so it is inside the round.
        sqlx::query("update sync.buckets set checked_at = null").execute(&edition.pool).await?;
        let mut background = reconciler::background(&edition)?;
        let disturbed = closed_loop(&create()).await?.stat();
        background.kill().await?;
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
            what: "create rate during the background pass".to_owned(),
            unit: "/s",
            bounds: vec![Bound::AtLeast(Measure::Ratio, 0.9)],
            samples: seen,
            note: Some("against the rate without it".to_owned()),
        },
    ]))
}
