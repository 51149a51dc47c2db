//! Child processes of this same binary in other modes. One build suffices, and the load generator
//! does not share a runtime with the servers.

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

/// The mode of the local edition. Further arguments are those of `vitrina`.
pub(crate) const EDITION: &str = "as-edition";

/// The mode of the bare HTTP server.
pub(crate) const BARE: &str = "as-bare-server";

/// The mode of the reconciler. Further arguments are its task and the addresses of the stores.
pub(crate) const RECONCILER: &str = "as-reconciler";

/// Time for a process to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Variables that must not reach a measured process.
const CLEARED_VARIABLES: [&str; 6] = [
    "DATABASE_URL",
    "VITRINA_AUTH_ISSUER",
    "VITRINA_CURRENCY",
    "VITRINA_DATABASE_CONNECTIONS",
    "VITRINA_ROLES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// A server process. Dropping the value stops it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// The child ends when this closes, even if this process crashes.
    stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
}

impl Server {
    /// Starts this program with `arguments` and waits until it prints its address. Its log goes to
    /// the file `log`.
    pub(crate) async fn start(arguments: &[&str], log: &Path) -> anyhow::Result<Self> {
        let log = log.to_owned();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        tokio::task::spawn_blocking(move || Self::spawn(command, &log)).await?
    }

    fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        for name in CLEARED_VARIABLES {
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
            let log = std::fs::read_to_string(log).unwrap_or_default();
            bail!("the measured process does not start: {}", log.trim());
        };
        // An unread pipe would block the process once it is full.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let address = address_of(&url)?;
        Ok(Self { child, stdin, address, url })
    }
}

impl Server {
    /// Its current and peak memory.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("killing a process")?;
        self.child.wait().context("waiting for a killed process")?;
        Ok(())
    }
}

impl Drop for Server {
    /// Waits for the end of the process. It stops its stores, so their folders can be removed then.
    fn drop(&mut self) {
        self.stdin.take();
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The resident memory of a process, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .context("reading the memory of a process")?;
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
    address.with_context(|| format!("{url} is not an address"))
}

/// Runs the local edition exactly as `vitrina` does.
pub(crate) async fn run_edition(arguments: impl Iterator<Item = String>) -> ExitCode {
    end_with_parent();
    Box::pin(commands::run(Cli::parse_from(std::iter::once("vitrina".to_owned()).chain(arguments))))
        .await
}

/// Sends SIGTERM to this process when the parent ends or closes the pipe.
pub(crate) fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

/// Prints an error, and returns the exit code.
pub(crate) fn exit_code(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}
