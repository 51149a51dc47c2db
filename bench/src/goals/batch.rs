//! P4: creating products by the hundred, against a hundred in one statement.

use super::{Outcome, rounds, split};
use crate::edition::{Edition, WRITE_API};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::load::closed_loop;
use crate::pgbench::{self, Length, PgBench};
use crate::product::creates_100;
use crate::world::World;
use vitrina::client::demo_user::DemoUser;

pub(crate) const WHAT: &str = "create in hundreds over HTTP";

/// Of both sides: a batch keeps a core busy, so more would only wait.
const CLIENTS: u32 = 4;

pub(crate) async fn measure(world: &World) -> anyhow::Result<Outcome> {
    let api = Edition::fresh(world, WRITE_API).await?;
    let ceiling = PgBench::beside(world, &api).await?;
    let connections = usize::try_from(CLIENTS)?;
    let seen = rounds(world, "P4", async || {
        api.checkpoint().await?;
        let length = Length::Seconds(world.seconds);
        let at_best = ceiling.run(pgbench::CREATE_100, CLIENTS, length).await?;
        let at_best = Stat { value: at_best.value * 100.0, ..at_best };
        api.checkpoint().await?;
        let token = api.token(DemoUser::Seller).await?;
        let ours = closed_loop(&creates_100(api.api, &token, connections, world.seconds)).await?;
        Ok((Sample::new(at_best, ours.stat_of(100)), (ours.refused, ours.refusal)))
    })
    .await?;
    let (samples, note) = split(seen);
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.5)];
    Ok(vec![Figure { what: WHAT.to_owned(), unit: "rows/s", bounds, samples, note }].into())
}
