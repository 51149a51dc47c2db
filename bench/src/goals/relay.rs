//! P10: events that the relay claims and deletes a second, without the bus, against the same claim in
//! `pgbench`.

use std::time::Instant;

use inventory::relay::Relay;
use shared::bus::postgres::PgBus;
use shared::clock::Clock;
use shared::config::Secret;
use shared::database::{self, DatabaseConfig};
use shared::host::tick::Progress;
use shared::id::Ids;

use super::{Outcome, rounds};
use crate::edition::Edition;
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::number::rate;
use crate::pgbench::{self, Length, PgBench};
use crate::setup::Setup;
use crate::snapshot;

pub(crate) const WHAT: &str = "relay without the bus, one worker";

/// Pending events at the start of each side.
const EVENTS: u64 = 100_000;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let folder = snapshot::copy(setup, EVENTS).await?;
    let edition = Edition::at(folder.path(), "identity").await?;
    let ceiling = PgBench::on_edition(setup, &edition)?;
    let samples = rounds(setup, "P10", async || {
        fill(&edition).await?;
        let at_best =
            ceiling.run(pgbench::CLAIM_100, 1, Length::Transactions(EVENTS / 100)).await?;
        fill(&edition).await?;
        let ours = relay(&edition).await?;
        let at_best = Stat { value: at_best.value * 100.0, ..Stat::default() };
        Ok(Sample::new(at_best, ours))
    })
    .await?;
    let bounds = vec![Bound::AtLeast(Measure::Ratio, 0.5)];
    let what = WHAT.to_owned();
    Ok(vec![Figure { what, unit: "events/s", bounds, samples, note: None }].into())
}

/// Makes the events of the journal pending again.
async fn fill(edition: &Edition) -> anyhow::Result<()> {
    sqlx::query("truncate inventory.outbox").execute(&edition.pool).await?;
    sqlx::query(
        "insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         select aggregate, aggregate_id, version, committed_at from inventory.journal
         order by aggregate_id limit $1",
    )
    .bind(i64::try_from(EVENTS)?)
    .execute(&edition.pool)
    .await?;
    sqlx::query("vacuum analyze inventory.outbox").execute(&edition.pool).await?;
    edition.checkpoint().await
}

/// Relays all events to a bus without queues.
async fn relay(edition: &Edition) -> anyhow::Result<Stat> {
    let pool = database::connect(&DatabaseConfig::new(
        Secret::new(edition.database.clone()),
        8,
        "vitrina bench",
    ))?;
    let bus = PgBus::new(pool.clone(), Clock::System, &[]);
    let relay = Relay::new(pool.clone(), bus, Clock::System, Ids::System);
    let begun = Instant::now();
    while relay.once().await? == Progress::More {}
    let took = begun.elapsed();
    pool.close().await;
    Ok(Stat::of(rate(EVENTS, took)))
}
