//! P1 and P3: creating a product, against a product and its event in one statement.

use super::{CLIENTS, CONNECTIONS, Outcome, rounds, split};
use crate::edition::{ALL, Edition, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample};
use crate::load::closed_loop;
use crate::pgbench::{self, Length, PgBench};
use crate::product::creates;
use crate::setup::Setup;
use vitrina::client::demo_user::DemoUser;

pub(crate) const WHAT: &str = "create over HTTP, 32 connections";

pub(crate) const SINGLE: &str = "create over HTTP, 1 connection";

/// P1: durable creates with a verified token, validation and an idempotency key. The goal is about the
/// API alone. A second figure shows the rate with all parts in one process.
pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let api = Edition::fresh(setup, WRITE_API).await?;
    let whole = Edition::fresh(setup, ALL).await?;
    let ceiling = PgBench::on_own_database(setup, &api).await?;
    let seen = rounds(setup, "P1", async || {
        let length = Length::Seconds(setup.seconds);
        api.checkpoint().await?;
        let at_best = ceiling.run(pgbench::CREATE, CLIENTS, length).await?;
        api.checkpoint().await?;
        let token = api.token(DemoUser::Seller).await?;
        let load = creates(api.api, &token, CONNECTIONS, setup.seconds);
        let alone = closed_loop(&load).await?;
        whole.checkpoint().await?;
        let token = whole.token(DemoUser::Seller).await?;
        let load = creates(whole.api, &token, CONNECTIONS, setup.seconds);
        let together = closed_loop(&load).await?;
        // A backlog of events must not disturb the next round.
        whole.discard_backlog().await?;
        Ok([
            (Sample::new(at_best, alone.stat()), (alone.refused, alone.refusal)),
            (Sample::new(at_best, together.stat()), (together.refused, together.refusal)),
        ])
    })
    .await?;
    let (alone, note) = split(seen.iter().map(|[alone, _]| *alone).collect());
    let (together, whole_note) = split(seen.iter().map(|[_, whole]| *whole).collect());
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.5), Bound::AtMost(Measure::P99Times, 4.0)];
    Ok(Outcome::from(vec![
        Figure { what: WHAT.to_owned(), unit: "/s", bounds, samples: alone, note },
        Figure {
            what: "the same, all parts in one process".to_owned(),
            unit: "/s",
            bounds: vec![],
            samples: together,
            note: whole_note,
        },
    ]))
}

/// P3: the latency that Vitrina adds to PostgreSQL, on one connection.
pub(crate) async fn measure_single(setup: &Setup) -> anyhow::Result<Outcome> {
    let api = Edition::fresh(setup, WRITE_API).await?;
    let ceiling = PgBench::on_own_database(setup, &api).await?;
    let seen = rounds(setup, "P3", async || {
        let at_best = ceiling.run(pgbench::CREATE, 1, Length::Seconds(setup.seconds)).await?;
        let token = api.token(DemoUser::Seller).await?;
        let ours = closed_loop(&creates(api.api, &token, 1, setup.seconds)).await?;
        Ok((Sample::new(at_best, ours.stat()), (ours.refused, ours.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtMost(Measure::P50Above, 0.5)];
    Ok(vec![Figure { what: SINGLE.to_owned(), unit: "/s", bounds, samples, note }].into())
}

/// Creates a second with the API alone, measured once.
pub(super) async fn estimate(setup: &Setup) -> anyhow::Result<f64> {
    let api = Edition::fresh(setup, WRITE_API).await?;
    let token = api.token(DemoUser::Seller).await?;
    Ok(closed_loop(&creates(api.api, &token, CONNECTIONS, setup.seconds)).await?.stat().value)
}
