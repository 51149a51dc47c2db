//! P12: the lag from commit to visible at a fixed arrival rate, with all parts in one process; and
//! the time to drain a backlog.

use std::time::{Duration, Instant};

use vitrina::client::demo_user::DemoUser;

use super::project::{self, waiting};
use super::{CONNECTIONS, Outcome, create, rounds};
use crate::chart::{Chart, Kind};
use crate::edition::{ALL, Edition, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::lag::LagPollers;
use crate::load::open_loop;
use crate::number::{Latencies, figure};
use crate::product::creates;
use crate::setup::Setup;

pub(crate) const WHAT: &str = "lag, commit to visible, fixed arrival rate";

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    setup.progress.now("P12: finding the rate");
    let (creates, projected) = (create::estimate(setup).await?, project::estimate(setup).await?);
    let rate = creates.min(projected) / 2.0;
    let mut lags = Vec::new();
    let samples = {
        let edition = Edition::fresh(setup, ALL).await?;
        rounds(setup, "P12", async || {
            let (stat, points) = lag(setup, &edition, rate).await?;
            lags = points;
            Ok(Sample::alone(stat))
        })
        .await?
    };
    let (drained, backlog) = drain(setup, rate).await?;
    let bounds = vec![Bound::AtMost(Measure::P50, 25.0), Bound::AtMost(Measure::P99, 150.0)];
    let seconds = format!("{backlog} s");
    let chart = Chart {
        name: "lag",
        title: format!("Lag over time at {rate:.0} creates a second"),
        unit: "ms",
        kind: Kind::Lines {
            axis: "seconds",
            series: vec![("commit to visible".to_owned(), lags)],
            logarithmic: false,
        },
    };
    let figures = vec![
        Figure {
            what: WHAT.to_owned(),
            unit: "/s",
            bounds,
            samples,
            note: Some(format!(
                "half of the lower of {creates:.0} creates and {projected:.0} projected events a \
                 second"
            )),
        },
        Figure {
            what: format!("draining a backlog of {seconds}"),
            unit: "s",
            bounds: vec![Bound::AtMost(Measure::Value("s"), figure(backlog))],
            samples: vec![Sample::alone(Stat::of(drained))],
            note: Some("no further writes arrive while it drains".to_owned()),
        },
    ];
    Ok(Outcome { figures, charts: vec![chart] })
}

/// Creates products at `rate` and polls the catalogue for some of them. Returns the statistics, and
/// each lag with its time.
async fn lag(
    setup: &Setup,
    edition: &Edition,
    rate: f64,
) -> anyhow::Result<(Stat, Vec<(f64, f64)>)> {
    let token = edition.token(DemoUser::Seller).await?;
    let mut load = creates(edition.api, &token, CONNECTIONS, setup.seconds * 2);
    let (pollers, observe) = LagPollers::begin(edition.api, rate, |_| {});
    load.observe = Some(observe);
    let seen = open_loop(&load, rate).await?;
    // The load holds the sender: without it, the pollers end after their last product.
    drop(load);
    let (mut lags, mut points) = (Latencies::new(), Vec::new());
    for (at, lag) in pollers.end().await? {
        lags.record(lag);
        points.push((at.as_secs_f64(), lag.as_secs_f64() * 1000.0));
    }
    let stat = Stat {
        value: seen.stat().value,
        p50_ms: Some(lags.quantile(0.5)),
        p99_ms: Some(lags.quantile(0.99)),
    };
    Ok((stat, points))
}

/// Accumulates writes without relay and projector, then starts both. Returns the seconds until the
/// backlog is drained, and the seconds of writes in it.
async fn drain(setup: &Setup, rate: f64) -> anyhow::Result<(f64, u64)> {
    let backlog = if setup.quick { 5 } else { 60 };
    setup.progress.now(&format!("P12: accumulating {backlog} s of writes"));
    let folder = setup.folder()?;
    {
        let api = Edition::at(folder.path(), WRITE_API).await?;
        let token = api.token(DemoUser::Seller).await?;
        open_loop(&creates(api.api, &token, CONNECTIONS, backlog), rate).await?;
    }
    setup.progress.now("P12: draining");
    let edition = Edition::at(folder.path(), ALL).await?;
    let begun = Instant::now();
    loop {
        let pending: i64 = sqlx::query_scalar("select count(*) from inventory.outbox")
            .fetch_one(&edition.pool)
            .await?;
        if pending == 0 && waiting(&edition).await? == 0 {
            return Ok((begun.elapsed().as_secs_f64(), backlog));
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_mins(10), "the backlog does not drain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
