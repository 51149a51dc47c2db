//! P17: the size of the deployed binaries, and their memory after some work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::project::{send, waiting};
use super::{BUILD, Outcome, built_with};
use crate::edition::Edition;
use crate::goal::{Bound, Figure, Measure, Sample, Stat};
use crate::number::figure;
use crate::server::Memory;
use crate::setup::Setup;
use crate::snapshot;

pub(crate) const WHAT: &str = "size of the services' binaries, and memory";

/// The binaries that are deployed.
const SERVICES: [&str; 4] = ["inventory", "catalog", "sync", "identity"];

/// Events to handle before memory is measured.
const EVENTS: u64 = 1_000;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Outcome> {
    setup.progress.now("P17: binaries and memory");
    let folder = built_with("function")?;
    let binaries: Vec<PathBuf> = SERVICES.iter().map(|name| folder.join(name)).collect();
    if !binaries.iter().all(|binary| binary.is_file()) {
        return Ok(vec![absent()].into());
    }
    let mut figures = Vec::new();
    for (name, binary) in SERVICES.iter().zip(&binaries) {
        figures.push(Figure {
            what: format!("binary `{name}`, stripped"),
            unit: "MiB",
            bounds: vec![Bound::AtMost(Measure::Value("MiB"), 10.0)],
            samples: vec![Sample::alone(Stat::of(stripped_size(setup, binary)?))],
            note: None,
        });
    }
    figures.push(Figure {
        what: "memory of the projector after 1,000 events".to_owned(),
        unit: "MiB",
        bounds: vec![Bound::AtMost(Measure::Value("MiB"), 30.0)],
        samples: vec![Sample::alone(Stat::of(projector(setup, &binaries[1]).await?))],
        note: None,
    });
    figures.push(Figure {
        what: "memory of the relay after 1,000 events".to_owned(),
        unit: "MiB",
        bounds: vec![Bound::AtMost(Measure::Value("MiB"), 30.0)],
        samples: vec![Sample::alone(Stat::of(relay(setup, &binaries[0]).await?))],
        note: None,
    });
    Ok(figures.into())
}

/// The row without the binaries. Building them takes minutes, so a run does not do it.
fn absent() -> Figure {
    Figure {
        what: WHAT.to_owned(),
        unit: "MiB",
        bounds: vec![Bound::AtMost(Measure::Value("MiB"), 10.0)],
        samples: vec![],
        note: Some(format!("not measured: first run `{BUILD}`")),
    }
}

/// The size after `strip`, in MiB.
fn stripped_size(setup: &Setup, binary: &Path) -> anyhow::Result<f64> {
    let folder = setup.folder()?;
    let stripped = folder.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(binary).status();
    anyhow::ensure!(status.context("running strip")?.success(), "strip failed");
    Ok(figure(std::fs::metadata(stripped)?.len()) / 1024.0 / 1024.0)
}

/// A service's process. Dropping the value kills it.
struct Service(Child);

impl Service {
    fn start(binary: &Path, process_role: &str, edition: &Edition) -> anyhow::Result<Self> {
        let child = Command::new(binary)
            .env("VITRINA_ROLE", process_role)
            .env("DATABASE_URL", &edition.database)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &edition.dynamodb_url)
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_REGION", "local")
            .env("VITRINA_AUTH_ISSUER", vitrina::edition::ISSUER)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("running {}", binary.display()))?;
        Ok(Self(child))
    }

    /// Waits until `is_done`, and returns the memory of the process.
    async fn memory_when(
        &mut self,
        mut is_done: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<f64> {
        let begun = Instant::now();
        while !is_done().await? {
            if let Some(status) = self.0.try_wait()? {
                anyhow::bail!("a service exited: {status}");
            }
            anyhow::ensure!(
                begun.elapsed() < Duration::from_mins(1),
                "a service makes no progress"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Memory::of(self.0.id())?.now)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn projector(setup: &Setup, binary: &Path) -> anyhow::Result<f64> {
    let edition = Edition::fresh(setup, "identity").await?;
    send(&edition, 0..EVENTS).await?;
    let mut service = Service::start(binary, "projector", &edition)?;
    service.memory_when(async || Ok(waiting(&edition).await? == 0)).await
}

async fn relay(setup: &Setup, binary: &Path) -> anyhow::Result<f64> {
    let folder = snapshot::copy_rows(setup, 10_000).await?;
    let edition = Edition::at(folder.path(), "identity").await?;
    sqlx::query(
        "insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
         select aggregate, aggregate_id, version, committed_at from inventory.journal limit $1",
    )
    .bind(i64::try_from(EVENTS)?)
    .execute(&edition.pool)
    .await?;
    let mut service = Service::start(binary, "relay", &edition)?;
    service.memory_when(async || Ok(waiting(&edition).await? >= EVENTS)).await
}
