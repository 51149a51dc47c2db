//! The ceilings of PostgreSQL: `pgbench` on the cluster of the measured edition.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use local_postgres::{Binaries, Search};
use tempfile::TempDir;
use tokio::process::Command;

use crate::edition::Edition;
use crate::goal::Stat;
use crate::number::Latencies;
use crate::setup::Setup;

/// Inserts a product and its event in one statement.
pub(crate) const CREATE: &str = include_str!("../sql/create.sql");

/// Inserts a hundred products and their events in one statement.
pub(crate) const CREATE_100: &str = include_str!("../sql/create_100.sql");

/// Claims and deletes a hundred pointers of the edition's outbox, and reads their journal rows.
pub(crate) const CLAIM_100: &str = include_str!("../sql/claim_100.sql");

const SCHEMA: &str = include_str!("../sql/schema.sql");

/// The database of the ceilings.
const DATABASE: &str = "ceiling";

/// `pgbench` with a database.
#[derive(Debug)]
pub(crate) struct PgBench {
    program: PathBuf,
    url: String,
    logs: TempDir,
}

/// The length of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Seconds(u64),
    /// For each client.
    Transactions(u64),
}

impl PgBench {
    /// Creates a database with the tables of the ceilings in the edition's cluster.
    pub(crate) async fn on_own_database(setup: &Setup, edition: &Edition) -> anyhow::Result<Self> {
        sqlx::query("create database ceiling").execute(&edition.pool).await?;
        let url = local_postgres::find_running(&edition.postgres(), DATABASE)?
            .context("PostgreSQL is not running")?;
        let bench = Self::at(setup, edition, url)?;
        let pool = sqlx::PgPool::connect(&bench.url).await?;
        sqlx::raw_sql(SCHEMA)
            .execute(&pool)
            .await
            .context("creating the tables of the ceilings")?;
        pool.close().await;
        Ok(bench)
    }

    /// Uses the tables of the edition.
    pub(crate) fn on_edition(setup: &Setup, edition: &Edition) -> anyhow::Result<Self> {
        Self::at(setup, edition, edition.database.clone())
    }

    fn at(setup: &Setup, edition: &Edition, url: String) -> anyhow::Result<Self> {
        let search: &Search = &setup.postgres;
        let binaries = Binaries::find_for(search, &edition.postgres())?;
        let bundled = binaries.directory().join("pgbench");
        let program = if bundled.is_file() { bundled } else { PathBuf::from("pgbench") };
        Ok(Self { program, url, logs: setup.folder()? })
    }

    /// Runs `script` repeatedly.
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
        let printed = String::from_utf8_lossy(&output.stdout);
        let value = read_rate(&printed).context("pgbench printed no rate")?;
        let latencies = self.take_latencies()?;
        Ok(Stat {
            value,
            p50_ms: Some(latencies.quantile(0.5)),
            p99_ms: Some(latencies.quantile(0.99)),
        })
    }

    /// Reads the latency logs and removes them.
    fn take_latencies(&self) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        for entry in std::fs::read_dir(self.logs.path())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"latency"))
            {
                for line in std::fs::read_to_string(&path)?.lines() {
                    // Fields: client, transaction, microseconds, and others.
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

/// Transactions a second, from the output of `pgbench`.
fn read_rate(printed: &str) -> Option<f64> {
    let line = printed.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_read_from_the_output_of_pgbench() {
        let printed = "latency average = 2.6 ms\ninitial connection time = 31.1 ms\n\
                    tps = 12218.500000 (without initial connection time)\n";
        assert_eq!(read_rate(printed), Some(12_218.5));
        assert_eq!(read_rate("pgbench: error"), None);
    }
}
