//! P4: creates in batches of a hundred, against a hundred in one statement.

use super::{Outcome, rounds, split};
use crate::edition::{Edition, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::closed_loop;
use crate::pgbench::{self, Length, PgBench};
use crate::product::creates_100;
use crate::setup::Setup;
use vitrina::client::demo_user::DemoUser;

pub(crate) const WHAT: &str = "create in batches of 100 over HTTP";

/// For both sides. A batch keeps a core busy, so further clients would only wait.
const CLIENTS: u32 = 4;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let api = Edition::fresh(setup, WRITE_API).await?;
    let ceiling = PgBench::on_own_database(setup, &api).await?;
    let connections = usize::try_from(CLIENTS)?;
    let seen = rounds(setup, "P4", async || {
        api.checkpoint().await?;
        let length = Length::Seconds(setup.seconds);
        let at_best = ceiling.run(pgbench::CREATE_100, CLIENTS, length).await?;
        let at_best = Stat { value: at_best.value * 100.0, ..at_best };
        api.checkpoint().await?;
        let token = api.token(DemoUser::Seller).await?;
        let ours = closed_loop(&creates_100(api.api, &token, connections, setup.seconds)).await?;
        Ok((Sample::new(at_best, ours.stat_of(100)), (ours.refused, ours.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.5)];
    Ok(vec![Figure { what: WHAT.to_owned(), unit: "rows/s", bounds, samples, note }].into())
}
