//! What is measured runs in processes of its own, which are this same program in another role: one
//! build suffices, and the load does not share a runtime with what it loads.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser as _;
use rustix::process::{Signal, getpid, kill_process};
use vitrina::commands::{self, Cli};
use vitrina::console::exit::FAILED;
use vitrina::console::output::say;

/// The role that is the local edition; the words behind it are those of `vitrina`.
pub(crate) const EDITION: &str = "as-edition";

/// The role that is the bare HTTP server.
pub(crate) const BARE: &str = "as-bare-server";

/// The role that reconciles; the words behind it say where the stores are and what is to be done.
pub(crate) const RECONCILER: &str = "as-reconciler";

/// How long a process gets to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the environment must not say to what is measured.
const MISLEADING: [&str; 6] = [
    "DATABASE_URL",
    "VITRINA_AUTH_ISSUER",
    "VITRINA_CURRENCY",
    "VITRINA_DATABASE_CONNECTIONS",
    "VITRINA_ROLES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// A process that serves, for as long as this value is.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// It ends when this is closed, however this process ends.
    stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
}

impl Server {
    /// Starts this program with `words` and waits until it says where it is; what it logs is kept
    /// in the file `log`.
    pub(crate) async fn start(words: &[&str], log: &Path) -> anyhow::Result<Self> {
        let log = log.to_owned();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words);
        tokio::task::spawn_blocking(move || Self::spawn(command, &log)).await?
    }

    fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        for name in MISLEADING {
            command.env_remove(name);
        }
        let mut child = command
            .env("VITRINA_RATE_LIMIT", "0")
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .spawn()
            .context("starting a process to measure")?;
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().context("a process has no stdout")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        let Some(url) = first.trim().strip_prefix("ready ").map(ToOwned::to_owned) else {
            drop(stdin);
            child.wait()?;
            let said = std::fs::read_to_string(log).unwrap_or_default();
            bail!("what is to be measured does not start: {}", said.trim());
        };
        // What it says afterwards must not stop it.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let address = address_of(&url)?;
        Ok(Self { child, stdin, address, url })
    }
}

impl Server {
    /// The memory that it has now, and had at most.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// SIGKILL: no chance to do anything.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("killing a process")?;
        self.child.wait().context("waiting for a process that was killed")?;
        Ok(())
    }
}

impl Drop for Server {
    /// Waits for its end: its stores are stopped by it, and may then be removed.
    fn drop(&mut self) {
        self.stdin.take();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory of a process that is its own and resident, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .context("reading what memory a process has")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u32 = line.split_whitespace().nth(0)?.parse().ok()?;
            Some(f64::from(kib) / 1024.0)
        };
        let (now, peak) = (field("VmRSS:"), field("VmHWM:"));
        Ok(Self { now: now.context("no VmRSS")?, peak: peak.context("no VmHWM")? })
    }
}

/// The address in `http://127.0.0.1:8080`.
pub(crate) fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|rest| rest.parse().ok());
    address.with_context(|| format!("{url} is no address"))
}

/// The local edition, exactly as `vitrina` runs it.
pub(crate) async fn run_edition(words: impl Iterator<Item = String>) -> ExitCode {
    end_with_parent();
    Box::pin(commands::run(Cli::parse_from(std::iter::once("vitrina".to_owned()).chain(words))))
        .await
}

/// Ends this process as a SIGTERM does once whoever started it is gone or wants no more of it.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

/// Says what went wrong, and what the exit code is.
pub(crate) fn exit_code(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}
