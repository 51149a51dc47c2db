//! The command line: the selected goals, the rounds, and where the results go.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use shared::clock::Clock;
use shared::config::Settings;
use vitrina::console::exit::{FAILED, OK};
use vitrina::console::output::{print, say};

use crate::goal::{Figure, Row, judge};
use crate::goals::{self, GOALS, Goal};
use crate::progress::Progress;
use crate::report::{self, RunConditions};
use crate::setup::Setup;
use crate::soak::{self, SoakArgs};
use crate::table;

/// Measures Vitrina against the ceilings of this machine.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Measure only these goals, separated by commas, such as P1,P5
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = goals::find)]
    only: Vec<&'static Goal>,
    /// Finish in three minutes: shorter rounds, and at most 100,000 products
    #[arg(long)]
    quick: bool,
    /// Number of rounds [default: 5, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Seconds for the ceiling and for Vitrina in each round [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for the report [default: bench/report, with --only none]
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Folder that keeps snapshots between runs [default: in the user's cache folder]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a fresh local edition for hours, and watch for errors, drift and growing memory
    #[command(after_help = "Exits with 1 if the verdict is bad.")]
    Soak(SoakArgs),
}

impl Args {
    fn goals(&self) -> Vec<&'static Goal> {
        if self.only.is_empty() { GOALS.iter().collect() } else { self.only.clone() }
    }

    fn report(&self) -> Option<PathBuf> {
        let default = self.only.is_empty().then(|| PathBuf::from("bench/report"));
        self.report.clone().or(default)
    }

    fn cache(&self, settings: &Settings) -> anyhow::Result<PathBuf> {
        let caches = settings.text("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| Some(Path::new(settings.text("HOME")?).join(".cache")));
        let default = caches.map(|caches| caches.join("vitrina").join("bench"));
        self.cache.clone().or(default).context("HOME is not set: give a folder with --cache")
    }
}

/// Measures the selected goals, prints the table, and writes the requested files.
pub(crate) async fn run(args: Args) -> anyhow::Result<u8> {
    if let Some(Command::Soak(args)) = args.command {
        return Box::pin(soak::run(args)).await;
    }
    let stop = shared::host::stop_on_signal().context("listening for signals")?;
    tokio::select! {
        result = Box::pin(measure(args)) => result,
        // Dropping the measurement stops its processes and removes their folders.
        () = stop.cancelled() => Ok(FAILED),
    }
}

async fn measure(args: Args) -> anyhow::Result<u8> {
    let settings = Settings::from_env();
    let goals = args.goals();
    let (rounds, seconds) = if args.quick { (2, 1) } else { (5, 5) };
    let length = (args.rounds.unwrap_or(rounds), args.seconds.unwrap_or(seconds), args.quick);
    let progress = Progress::begin(&settings, goals.len());
    let setup = Setup::new(length, args.cache(&settings)?, &settings, progress)?;
    let mut circumstances = RunConditions {
        at: Clock::System.now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        rounds: setup.rounds,
        seconds: setup.seconds,
        quick: setup.quick,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        generator: 0.0,
    };
    if args.report().is_some() {
        circumstances.generator = goals::generator::measure(&setup).await?;
    }
    let (mut rows, mut charts, mut failures) = (Vec::new(), Vec::new(), 0);
    for goal in goals {
        match (goal.measure)(&setup).await {
            Ok(outcome) => {
                rows.extend(outcome.figures.iter().map(|figure| judge(goal.id, figure)));
                charts.extend(outcome.charts);
            }
            Err(error) => {
                failures += 1;
                say(&format!("{} could not be measured: {error:#}", goal.id));
                rows.push(unmeasured(goal, &error));
            }
        }
        setup.progress.goal_done();
    }
    drop(setup);
    let printed = print(&table::text(&rows));
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&rows)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    if let Some(folder) = args.report() {
        report::write(&folder, &rows, charts, &circumstances)?;
    }
    printed?;
    Ok(if failures == 0 { OK } else { FAILED })
}

/// The row of a goal that could not be measured: not met.
fn unmeasured(goal: &Goal, error: &anyhow::Error) -> Row {
    let figure = Figure {
        what: goal.what.to_owned(),
        note: Some(format!("could not be measured: {error:#}")),
        ..Figure::default()
    };
    Row { met: Some(false), ..judge(goal.id, &figure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"bench").chain(arguments))
    }

    #[test]
    fn only_accepts_goals_and_refuses_unknown_ids() {
        let args = parse(&["--only", "P1,p5"]).unwrap();
        let ids: Vec<&str> = args.goals().iter().map(|goal| goal.id).collect();
        assert_eq!(ids, ["P1", "P5"]);
        for unknown in ["P99", "P1,,P5", "P1;P5", ""] {
            let error = parse(&["--only", unknown]).unwrap_err().to_string();
            assert!(error.contains("P1, P3"), "{unknown}: {error}");
        }
    }

    #[test]
    fn report_is_replaced_by_default_only_when_all_goals_run() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.goals().len(), GOALS.len());
        assert_eq!(args.report(), Some(PathBuf::from("bench/report")));
        assert_eq!(parse(&["--only", "P1"]).unwrap().report(), None);
        let explicit = parse(&["--only", "P1", "--report", "x"]).unwrap();
        assert_eq!(explicit.report(), Some(PathBuf::from("x")));
    }

    #[test]
    fn unmeasured_goal_is_a_row_that_is_not_met() {
        let row = unmeasured(&GOALS[0], &anyhow::anyhow!("no disk"));
        assert_eq!((row.id, row.met, row.ours), ("P1", Some(false), None));
        assert!(row.note.unwrap().contains("no disk"));
    }

    #[test]
    fn rounds_and_seconds_have_limits() {
        assert!(parse(&["--rounds", "0"]).is_err());
        assert!(parse(&["--seconds", "0"]).is_err());
    }
}
