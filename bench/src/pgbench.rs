//! The ceilings of PostgreSQL, by its own `pgbench`, on the cluster of the edition that is
//! measured.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use local_postgres::{Binaries, Search};
use tempfile::TempDir;
use tokio::process::Command;

use crate::edition::Edition;
use crate::goal::Stat;
use crate::number::Latencies;
use crate::world::World;

/// Product and event in one statement.
pub(crate) const CREATE: &str = include_str!("../sql/create.sql");

/// A hundred of each in one statement.
pub(crate) const CREATE_100: &str = include_str!("../sql/create_100.sql");

/// Claims and deletes a hundred pointers of the edition itself, with what they point at.
pub(crate) const CLAIM_100: &str = include_str!("../sql/claim_100.sql");

const SCHEMA: &str = include_str!("../sql/schema.sql");

/// The database that the ceilings have for themselves.
const DATABASE: &str = "ceiling";

/// A way to run `pgbench` on a database.
#[derive(Debug)]
pub(crate) struct PgBench {
    program: PathBuf,
    url: String,
    logs: TempDir,
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Seconds(u64),
    /// Of each client.
    Transactions(u64),
}

impl PgBench {
    /// On a database of its own, with the tables of the ceilings in it.
    pub(crate) async fn beside(world: &World, edition: &Edition) -> anyhow::Result<Self> {
        sqlx::query("create database ceiling").execute(&edition.pool).await?;
        let url = local_postgres::find_running(&edition.postgres(), DATABASE)?
            .context("PostgreSQL does not run")?;
        let bench = Self::at(world, edition, url)?;
        let pool = sqlx::PgPool::connect(&bench.url).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await.context("making the tables of the ceilings")?;
        pool.close().await;
        Ok(bench)
    }

    /// On the tables of the edition.
    pub(crate) fn within(world: &World, edition: &Edition) -> anyhow::Result<Self> {
        Self::at(world, edition, edition.database.clone())
    }

    fn at(world: &World, edition: &Edition, url: String) -> anyhow::Result<Self> {
        let search: &Search = &world.postgres;
        let binaries = Binaries::find_for(search, &edition.postgres())?;
        let beside = binaries.directory().join("pgbench");
        let program = if beside.is_file() { beside } else { PathBuf::from("pgbench") };
        Ok(Self { program, url, logs: world.folder()? })
    }

    /// Runs `script` over and over.
    pub(crate) async fn run(
        &self,
        script: &str,
        clients: u32,
        length: Length,
    ) -> anyhow::Result<Stat> {
        let file = self.logs.path().join("script.sql");
        std::fs::write(&file, script)?;
        let (flag, amount) = match length {
            Length::Seconds(seconds) => ("-T", seconds),
            Length::Transactions(count) => ("-t", count),
        };
        let output = Command::new(&self.program)
            .current_dir(self.logs.path())
            .args(["--no-vacuum", "-M", "prepared", "--log", "--log-prefix=latency", "-f"])
            .arg(&file)
            .args(["-c", &clients.to_string(), "-j", &clients.min(2).to_string()])
            .args([flag, &amount.to_string()])
            .arg(&self.url)
            .output()
            .await
            .with_context(|| format!("running {}", self.program.display()))?;
        if !output.status.success() {
            bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let value = read_rate(&said).context("pgbench did not say how fast it was")?;
        let latencies = self.take_latencies()?;
        Ok(Stat {
            value,
            p50_ms: Some(latencies.quantile(0.5)),
            p99_ms: Some(latencies.quantile(0.99)),
        })
    }

    /// Reads what every transaction took, and removes the files with it.
    fn take_latencies(&self) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        for entry in std::fs::read_dir(self.logs.path())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"latency"))
            {
                for line in std::fs::read_to_string(&path)?.lines() {
                    // client, transaction, microseconds, ..
                    if let Some(micros) = line.split(' ').nth(2).and_then(|text| text.parse().ok())
                    {
                        latencies.record(Duration::from_micros(micros));
                    }
                }
                std::fs::remove_file(&path)?;
            }
        }
        Ok(latencies)
    }
}

/// Transactions a second, out of what `pgbench` prints.
fn read_rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_out_of_what_pgbench_prints() {
        let said = "latency average = 2.6 ms\ninitial connection time = 31.1 ms\n\
                    tps = 12218.500000 (without initial connection time)\n";
        assert_eq!(read_rate(said), Some(12_218.5));
        assert_eq!(read_rate("pgbench: error"), None);
    }
}
