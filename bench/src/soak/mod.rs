//! `bench soak`: hours of mixed load on a fresh local edition, with a look at everything that could
//! grow, pile up or go wrong.
//!
//! Promise: the verdict is good only if nothing was refused or wrong, nothing was buried, no
//! reconciliation found a difference, and memory stopped growing.

mod drive;
mod subject;
mod verdict;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use vitrina::client::demo_user::DemoUser;
use vitrina::console::exit::{FAILED, OK};
use vitrina::console::output::{print, say};

use drive::Drive;
use subject::Subject;
use verdict::{Course, Minute};
use watch::Watch;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SoakArgs {
    /// For how long; 8 hours unless said
    #[arg(long, value_name = "N", conflicts_with = "minutes",
        value_parser = clap::value_parser!(u64).range(1..=168))]
    hours: Option<u64>,
    /// The same in minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: Option<u64>,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Kill the process every so many minutes, and start it again
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..))]
    kill_every: Option<u64>,
    /// Another number makes other requests
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl SoakArgs {
    fn minutes(&self) -> u64 {
        self.minutes.unwrap_or_else(|| self.hours.unwrap_or(8) * 60)
    }
}

/// Soaks, with a line a minute, and says whether all was well.
pub(crate) async fn run(args: SoakArgs) -> anyhow::Result<u8> {
    let stop = shared::host::stop_on_signal()?;
    tokio::select! {
        result = Box::pin(soak(args)) => result,
        // What runs is stopped, and its folder removed, by leaving.
        () = stop.cancelled() => Ok(FAILED),
    }
}

async fn soak(args: SoakArgs) -> anyhow::Result<u8> {
    let mut subject = Subject::start().await?;
    let seller = subject.client(DemoUser::Seller).await?;
    let operator = subject.client(DemoUser::Operator).await?;
    let (minutes, rate) = (args.minutes(), args.rate);
    let kills = args.kill_every.map_or_else(String::new, |every| format!(", killed every {every}"));
    say(&format!("{rate} requests a second for {minutes} min, seed {}{kills}", args.seed));
    let stop = CancellationToken::new();
    // What goes on beside ends with this value, however it goes.
    let _guard = stop.clone().drop_guard();
    let drive = Arc::new(Drive::new(seller, subject.reader()?, args.seed));
    let driving = tokio::spawn(Arc::clone(&drive).run(rate, stop.clone()));
    let watch = Arc::new(Watch::new(operator));
    let watching = tokio::spawn(Arc::clone(&watch).run(stop.clone()));

    let (begun, mut course) = (Instant::now(), Course::default());
    print(Minute::HEADER)?;
    for nth in 1..=minutes {
        sleep_until(begun + Duration::from_mins(nth)).await;
        let minute = Minute::new(nth, drive.take(), watch.take(), subject.memory()?);
        print(&minute.to_string())?;
        course.add(minute);
        if nth < minutes && args.kill_every.is_some_and(|every| nth.is_multiple_of(every)) {
            subject.kill_and_start().await?;
            course.kills += 1;
        }
    }
    stop.cancel();
    driving.await?;
    watching.await?;
    say("at rest; comparing everything");
    course.add_end(&drive.take(), watch.end().await?);
    let (verdict, is_good) = course.verdict();
    let printed = print(&verdict);
    for line in subject.complaints()? {
        say(&line);
    }
    printed?;
    Ok(if is_good { OK } else { FAILED })
}
