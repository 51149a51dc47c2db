//! P19: the time of the local edition from its start until it is ready.

use std::path::Path;
use std::time::Instant;

use super::{Outcome, rounds};
use crate::edition::{ALL, Edition};
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::setup::Setup;

pub(crate) const WHAT: &str = "start of the local edition: spawn to ready";

/// A developer waits for it.
const MAX_START: Bound = Bound::AtMost(Measure::Value("ms"), 3_000.0);

/// Each round starts an edition on an empty folder, stops it, and starts it again.
pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    let samples = rounds(setup, "P19", async || {
        let folder = setup.folder()?;
        Ok((start(folder.path()).await?, start(folder.path()).await?))
    })
    .await?;
    let (first, next): (Vec<Sample>, Vec<Sample>) = samples.into_iter().unzip();
    let figure = |what: &str, samples| Figure {
        what: what.to_owned(),
        unit: "ms",
        bounds: vec![MAX_START],
        samples,
        note: None,
    };
    let figures = vec![
        figure("first start of the local edition, with initdb and migrations", first),
        figure("next start of the local edition", next),
    ];
    Ok(figures.into())
}

/// Starts an edition and stops it.
async fn start(folder: &Path) -> anyhow::Result<Sample> {
    let begun = Instant::now();
    let edition = Edition::at(folder, ALL).await?;
    let took = begun.elapsed();
    drop(edition);
    Ok(Sample::alone(Stat::of(took.as_secs_f64() * 1_000.0)))
}
