//! The goals, each with the function that measures it.
//!
//! Goals that need AWS are not included, so the ids have gaps.

mod batch;
mod cold_start;
mod create;
mod footprint;
pub(crate) mod generator;
mod lag;
mod page;
mod project;
mod reconcile;
mod relay;
mod scale;
mod start;

use std::path::PathBuf;
use std::pin::Pin;

use anyhow::Context as _;

use crate::chart::Chart;
use crate::goal::{Figure, Sample};
use crate::setup::Setup;

/// Connections of a load, unless the goal needs another number.
const CONNECTIONS: usize = 32;

/// Clients of `pgbench`.
const CLIENTS: u32 = 32;

/// Builds the services as deployed. It takes minutes, so a run does not do it.
const BUILD: &str = "infra/aws/build inventory catalog sync identity";

/// The target folder of another build profile.
fn built_with(profile: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(std::path::Path::parent);
    Ok(target.context("the binary is not in a target folder")?.join(profile))
}

/// The results of a goal.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    pub(crate) charts: Vec<Chart>,
}

impl From<Vec<Figure>> for Outcome {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, charts: Vec::new() }
    }
}

type Measuring<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Outcome>> + 'a>>;

/// A goal.
pub(crate) struct Goal {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) measure: for<'a> fn(&'a Setup) -> Measuring<'a>,
}

impl std::fmt::Debug for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Goal").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Every goal, in the order of the table.
pub(crate) static GOALS: [Goal; 15] = [
    Goal { id: "P1", what: create::WHAT, measure: |setup| Box::pin(create::measure(setup)) },
    Goal {
        id: "P3",
        what: create::SINGLE,
        measure: |setup| Box::pin(create::measure_single(setup)),
    },
    Goal { id: "P4", what: batch::WHAT, measure: |setup| Box::pin(batch::measure(setup)) },
    Goal { id: "P5", what: page::WHAT, measure: |setup| Box::pin(page::measure(setup)) },
    Goal { id: "P6", what: page::CACHED, measure: |setup| Box::pin(page::measure_cached(setup)) },
    Goal { id: "P8", what: scale::PAGES, measure: |setup| Box::pin(scale::measure_pages(setup)) },
    Goal {
        id: "P9",
        what: scale::CREATES,
        measure: |setup| Box::pin(scale::measure_creates(setup)),
    },
    Goal { id: "P10", what: relay::WHAT, measure: |setup| Box::pin(relay::measure(setup)) },
    Goal { id: "P11", what: project::WHAT, measure: |setup| Box::pin(project::measure(setup)) },
    Goal { id: "P12", what: lag::WHAT, measure: |setup| Box::pin(lag::measure(setup)) },
    Goal { id: "P14", what: reconcile::WHAT, measure: |setup| Box::pin(reconcile::measure(setup)) },
    Goal {
        id: "P15",
        what: reconcile::COST,
        measure: |setup| Box::pin(reconcile::measure_cost(setup)),
    },
    Goal {
        id: "P16",
        what: cold_start::WHAT,
        measure: |setup| Box::pin(cold_start::measure(setup)),
    },
    Goal { id: "P17", what: footprint::WHAT, measure: |setup| Box::pin(footprint::measure(setup)) },
    Goal { id: "P19", what: start::WHAT, measure: |setup| Box::pin(start::measure(setup)) },
];

/// The goal with this id, upper or lower case.
///
/// # Errors
/// If no goal has this id: a message with all ids.
pub(crate) fn find(id: &str) -> Result<&'static Goal, String> {
    GOALS.iter().find(|goal| goal.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
        let ids: Vec<&str> = GOALS.iter().map(|goal| goal.id).collect();
        format!("the goals are {}", ids.join(", "))
    })
}

/// Measures the rounds of a goal. `one` measures both sides of a round.
async fn rounds<T>(
    setup: &Setup,
    id: &str,
    mut one: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut samples = Vec::new();
    for round in 1..=setup.rounds {
        setup.progress.now(&format!("{id}: round {round} of {}", setup.rounds));
        samples.push(one().await?);
    }
    Ok(samples)
}

/// A note on refused requests, if there were any.
fn refusals(seen: &[(u64, Option<u16>)]) -> Option<String> {
    let refused: u64 = seen.iter().map(|(refused, _)| refused).sum();
    let status = seen.iter().find_map(|(_, status)| *status)?;
    Some(format!("{refused} requests were refused with {status}"))
}

/// Separates the samples from the refusals.
fn split(seen: Vec<(Sample, (u64, Option<u16>))>) -> (Vec<Sample>, Option<String>) {
    let (samples, refused): (Vec<Sample>, Vec<_>) = seen.into_iter().unzip();
    let note = refusals(&refused);
    (samples, note)
}
