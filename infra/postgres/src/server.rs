//! A server process: started by this process or adopted, watched until it exits, stopped.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Error, POLL_INTERVAL,
    binaries::Binaries,
    home::Home,
    log::Log,
    postmaster::{self, Signal},
    settings::{self, Purpose},
};

const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// Interval of log rotation, in checks of the watch: every 5 s.
const LOG_EVERY: u32 = 100;

/// How a server exited.
#[derive(Debug, Clone)]
pub struct Exit {
    /// Exit status; unknown for a server that an earlier process started.
    pub status: Option<ExitStatus>,
    /// The last lines of its log.
    pub log: String,
}

impl Exit {
    pub(super) fn status_text(&self) -> String {
        self.status.map_or_else(|| "status unknown".to_owned(), |status| status.to_string())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL exited ({}): {}", self.status_text(), self.log)
    }
}

/// Timeouts of each way to stop before the next is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct StopTimeouts {
    pub(super) fast: Duration,
    pub(super) immediate: Duration,
    pub(super) kill: Duration,
}

/// Shared with the watching thread. Dropping it does not stop the server.
#[derive(Debug, Clone)]
pub(super) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pid: u32,
    data: PathBuf,
    /// `None` for an adopted server.
    child: Option<Mutex<Child>>,
    log: Log,
    log_from: u64,
    exit: watch::Sender<Option<Exit>>,
}

impl Server {
    pub(super) fn launch(
        home: &Home,
        binaries: &Binaries,
        log: &Log,
        socket_directory: &Path,
    ) -> Result<Self, Error> {
        let (file, log_from) = log.open()?;
        let second = file.try_clone().map_err(Error::files("opening the log", home.log()))?;
        let child = home
            .account()
            .command(&binaries.postgres)
            .args(settings::server(Purpose::Persistent, &home.data(), socket_directory))
            .stdout(file)
            .stderr(second)
            .spawn()
            .map_err(|source| home.account().refused(&binaries.postgres, source))?;
        Ok(Self::watched(child.id(), Some(child), home, log, log_from))
    }

    /// Adopts a running server, whose identity the caller has proved.
    pub(super) fn adopt(pid: u32, home: &Home, log: &Log) -> Result<Self, Error> {
        let (_, log_from) = log.open()?;
        Ok(Self::watched(pid, None, home, log, log_from))
    }

    fn watched(pid: u32, child: Option<Child>, home: &Home, log: &Log, log_from: u64) -> Self {
        let server = Self(Arc::new(Inner {
            pid,
            data: home.data(),
            child: child.map(Mutex::new),
            log: log.clone(),
            log_from,
            exit: watch::Sender::new(None),
        }));
        let watched = server.clone();
        thread::spawn(move || watched.watch());
        server
    }

    fn watch(&self) {
        for check in 1_u32.. {
            if self.exit().is_some() {
                return;
            }
            if check % LOG_EVERY == 0
                && let Err(error) = self.0.log.bound()
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not shorten the log of PostgreSQL",
                );
            }
            thread::sleep(WATCH_INTERVAL);
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Checks whether the server has exited.
    pub(super) fn exit(&self) -> Option<Exit> {
        if let Some(exit) = self.0.exit.borrow().clone() {
            return Some(exit);
        }
        let status = match &self.0.child {
            // An error would mean that the process is not a child, but nothing else waits for it.
            Some(child) => match lock(child).try_wait() {
                Ok(Some(status)) => Some(status),
                Ok(None) | Err(_) => return None,
            },
            None => match postmaster::is_server_of(self.0.pid, &self.0.data) {
                Ok(false) => None,
                Ok(true) | Err(_) => return None,
            },
        };
        let exit = Exit { status, log: self.0.log.tail(self.0.log_from) };
        self.0.exit.send_replace(Some(exit.clone()));
        Some(exit)
    }

    /// Returns when the server has exited.
    pub(super) async fn wait_for_exit(&self) -> Exit {
        let mut receiver = self.0.exit.subscribe();
        loop {
            if let Some(exit) = receiver.borrow_and_update().clone() {
                return exit;
            }
            // The sender lives as long as `self`, so this cannot fail.
            if receiver.changed().await.is_err() {
                return Exit { status: None, log: String::new() };
            }
        }
    }

    /// Waits until the server has exited, up to a timeout. Returns whether it has exited.
    pub(super) fn exits_within(&self, timeout: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.exit().is_some() {
                return true;
            }
            if begun.elapsed() >= timeout {
                return false;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends `signal`, unless the server has exited.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        match &self.0.child {
            Some(child) => {
                // The pid of a child is not reused before it is reaped. Holding the lock keeps the
                // watch from reaping it.
                let mut child = lock(child);
                if matches!(child.try_wait(), Ok(None)) {
                    postmaster::send(self.0.pid, signal)?;
                }
                Ok(())
            }
            None if postmaster::is_server_of(self.0.pid, &self.0.data)? => {
                postmaster::send(self.0.pid, signal)
            }
            None => Ok(()),
        }
    }

    /// Stops the server, with escalating signals. Blocks.
    pub(super) fn stop(&self, timeouts: StopTimeouts) -> Result<(), Error> {
        let attempts = [
            (Signal::Fast, timeouts.fast),
            (Signal::Immediate, timeouts.immediate),
            (Signal::Kill, timeouts.kill),
        ];
        for (signal, timeout) in attempts {
            self.signal(signal)?;
            if self.exits_within(timeout) {
                return Ok(());
            }
            tracing::warn!(
                postgres.pid = self.0.pid,
                waited.seconds = timeout.as_secs(),
                "PostgreSQL did not stop after the signal {signal:?}",
            );
        }
        let waited = timeouts.fast + timeouts.immediate + timeouts.kill;
        Err(Error::Unstoppable { pid: self.0.pid, waited })
    }
}

/// Ignores poisoning: a panic elsewhere does not change the child.
fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
