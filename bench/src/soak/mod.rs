//! `bench soak`: hours of mixed load on a fresh local edition.
//!
//! Promise: the verdict is good only if every response was correct, there is no dead letter, no
//! reconciliation found a difference, and memory stopped growing after the warm-up.

mod load;
mod monitor;
mod subject;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use vitrina::client::demo_user::DemoUser;
use vitrina::console::exit::{FAILED, OK};
use vitrina::console::output::{print, say};

use load::LoadGenerator;
use monitor::Monitor;
use subject::Subject;
use verdict::{Minute, SoakReport};

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SoakArgs {
    /// Duration in hours [default: 8]
    #[arg(long, value_name = "N", conflicts_with = "minutes",
        value_parser = clap::value_parser!(u64).range(1..=168))]
    hours: Option<u64>,
    /// Duration in minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: Option<u64>,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Kill and restart the process at this interval, in minutes
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..))]
    kill_every: Option<u64>,
    /// Seed of the random requests
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl SoakArgs {
    fn minutes(&self) -> u64 {
        self.minutes.unwrap_or_else(|| self.hours.unwrap_or(8) * 60)
    }
}

/// Runs the soak, and prints a line each minute and the verdict.
pub(crate) async fn run(args: SoakArgs) -> anyhow::Result<u8> {
    let stop = shared::host::stop_on_signal()?;
    tokio::select! {
        result = Box::pin(soak(args)) => result,
        // Dropping the soak stops its process and removes the folder.
        () = stop.cancelled() => Ok(FAILED),
    }
}

async fn soak(args: SoakArgs) -> anyhow::Result<u8> {
    let mut subject = Subject::start().await?;
    let seller = subject.client(DemoUser::Seller).await?;
    let operator = subject.client(DemoUser::Operator).await?;
    let (minutes, rate) = (args.minutes(), args.rate);
    let kills =
        args.kill_every.map_or_else(String::new, |every| format!(", killed every {every} min"));
    say(&format!("{rate} requests a second for {minutes} min, seed {}{kills}", args.seed));
    let stop = CancellationToken::new();
    // Stops the background tasks on every way out.
    let _guard = stop.clone().drop_guard();
    let load = Arc::new(LoadGenerator::new(seller, subject.reader()?, args.seed));
    let loading = tokio::spawn(Arc::clone(&load).run(rate, stop.clone()));
    let monitor = Arc::new(Monitor::new(operator));
    let monitoring = tokio::spawn(Arc::clone(&monitor).run(stop.clone()));

    let (begun, mut report) = (Instant::now(), SoakReport::default());
    print(Minute::HEADER)?;
    for nth in 1..=minutes {
        sleep_until(begun + Duration::from_mins(nth)).await;
        let minute = Minute::new(nth, load.take(), monitor.take(), subject.memory()?);
        print(&minute.to_string())?;
        report.add(minute);
        if nth < minutes && args.kill_every.is_some_and(|every| nth.is_multiple_of(every)) {
            subject.kill_and_restart().await?;
            report.kills += 1;
        }
    }
    stop.cancel();
    loading.await?;
    monitoring.await?;
    say("waiting for in-flight changes, then reconciling everything");
    report.add_final_state(&load.take(), monitor.finish().await?);
    let (verdict, is_good) = report.verdict();
    let printed = print(&verdict);
    for line in subject.log_lines()? {
        say(&line);
    }
    printed?;
    Ok(if is_good { OK } else { FAILED })
}
