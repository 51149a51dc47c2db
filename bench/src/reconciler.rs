//! A reconciler in a process of its own, so that its memory can be measured.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use shared::bus::postgres::Queue;
use shared::clock::Clock;
use shared::config::Secret;
use shared::contract::routes::CATALOG_QUEUE;
use shared::database::{self, DatabaseConfig};
use shared::host::Work as _;
use shared::id::{Ids, UserId};
use sync::{Findings, Reconciler, Settings, State};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use vitrina::console::exit::OK;
use vitrina::console::output::print;
use vitrina::edition::TABLE;

use crate::edition::Edition;
use crate::server::{self, Memory};

/// The two modes: a single pass, or continuous background passes.
const PASS: &str = "pass";
const BACKGROUND: &str = "background";

/// The results and costs of a pass.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct PassReport {
    pub(crate) seconds: f64,
    pub(crate) findings: Findings,
    pub(crate) read_units: f64,
    /// Peak, in MiB.
    pub(crate) memory: f64,
}

/// Runs one pass over everything in a child process, at full speed.
pub(crate) async fn pass(edition: &Edition) -> anyhow::Result<PassReport> {
    let output = command(edition, PASS)?.output().await?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "a reconciler failed: {}", error.trim());
    serde_json::from_slice(&output.stdout).context("reading the report of a pass")
}

/// Starts a child process that reconciles in the background until it is dropped.
pub(crate) fn background(edition: &Edition) -> anyhow::Result<tokio::process::Child> {
    Ok(command(edition, BACKGROUND)?
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?)
}

fn command(edition: &Edition, mode: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([server::RECONCILER, mode, &edition.database, &edition.dynamodb_url])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

/// The main function of the child process.
pub(crate) async fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<u8> {
    let mut next = || arguments.next().context("an argument is missing");
    let (mode, url, endpoint) = (next()?, next()?, next()?);
    let pool = database::connect(&DatabaseConfig::new(Secret::new(url), 8, "vitrina sync"))?;
    let queue = Queue::new(pool.clone(), Clock::System, CATALOG_QUEUE);
    let client = shared::dynamodb::connect_local(&endpoint);
    let reconciler =
        Reconciler::new(pool, client, TABLE, Clock::System, Ids::System).with_queue(queue);
    let stop = CancellationToken::new();
    if mode == BACKGROUND {
        server::end_with_parent();
        reconciler.run(std::sync::Arc::default(), stop).await;
        return Ok(OK);
    }
    // Without background slices, so that only the requested pass is counted.
    let reconciler = reconciler.with_settings(Settings { slice: 0, ..Settings::default() });
    let begun = Instant::now();
    let id = reconciler.request(UserId::nil(), false).await?;
    let run = loop {
        reconciler.once(&stop).await?;
        let run = reconciler.find_run(id).await?.context("the run no longer exists")?;
        if run.state == State::Finished {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let report = PassReport {
        seconds: begun.elapsed().as_secs_f64(),
        findings: run.findings,
        read_units: run.read_units,
        memory: Memory::of(std::process::id())?.peak,
    };
    print(&serde_json::to_string(&report)?)?;
    Ok(OK)
}
