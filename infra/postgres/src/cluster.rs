//! A persistent cluster. A start succeeds from every state that an earlier process can leave behind.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::spawn_blocking;

use super::{
    Error, Exit,
    home::Home,
    postmaster::Signal,
    server::Server,
    socket,
    start::{Limits, Start, StartOptions},
    url,
};

/// A running server on a data folder that no other process uses.
///
/// Committed data is durable. The server listens on a Unix socket that only its user and root can
/// reach. Dropping the cluster stops the server and waits up to 3 s; [`Cluster::stop`] waits until it
/// has stopped. If this process is killed, the server keeps running and the next [`Cluster::start`]
/// on the folder adopts it.
#[derive(Debug)]
pub struct Cluster {
    pub(super) server: Server,
    pub(super) socket_directory: PathBuf,
    pub(super) limits: Limits,
    /// Whether the server keeps running after the drop.
    pub(super) keeps_running: bool,
    // Released after `drop` has run.
    pub(super) home: Home,
}

impl Cluster {
    /// Creates the cluster if needed, starts the server or adopts a running one, and returns when it
    /// accepts connections: within about 0.1 s, or up to 60 s after a crash.
    ///
    /// Dropping the future cancels the start and stops a server that it has started.
    ///
    /// # Errors
    ///
    /// Every [`Error`] except those of [`Binaries::find`](super::Binaries::find). After
    /// [`Error::StillRecovering`] the server continues recovery, and a later start waits for it. After
    /// any other error, no server that this call started is left running.
    pub async fn start(options: StartOptions) -> Result<Self, Error> {
        let wanted = Arc::new(AtomicBool::new(true));
        let _until_dropped = CancelOnDrop(Arc::clone(&wanted));
        spawn_blocking(move || Start { options, wanted }.run()).await?
    }

    /// The URL of `database` on this server, for sqlx and libpq. Does not check that the database
    /// exists; `postgres` always does.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket_directory, database)
    }

    /// The process id of the server. A crash test kills it, waits with [`Cluster::wait`], drops this
    /// and calls [`Cluster::start`] again.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// PostgreSQL's own data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.home.data()
    }

    /// The log file of the server: up to about 8 MiB, plus as much in `server.log.old`.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// Whether the server process is running.
    pub fn is_alive(&self) -> bool {
        self.server.exit().is_none()
    }

    /// Returns within 0.1 s after the server has exited, for any reason. Cancel-safe; can be called
    /// again.
    pub async fn wait(&self) -> Exit {
        self.server.wait_for_exit().await
    }

    /// Stops the server with a fast shutdown and waits for its exit. After 30 s it is stopped
    /// immediately, and the next start needs a recovery. Does nothing if the server has exited.
    ///
    /// # Errors
    ///
    /// [`Error::Unstoppable`] if the server still runs after that, [`Error::Run`] if no shell can be run
    /// to signal it.
    pub async fn stop(&self) -> Result<(), Error> {
        let (server, timeouts) = (self.server.clone(), self.limits.stop);
        spawn_blocking(move || server.stop(timeouts)).await??;
        socket::remove_short_directory(&self.socket_directory);
        tracing::info!(postgres.pid = self.pid(), "PostgreSQL stopped");
        Ok(())
    }

    /// Drops this without stopping the server, like a killed process.
    #[cfg(test)]
    pub(super) fn drop_without_stopping(mut self) {
        self.keeps_running = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keeps_running || self.server.exit().is_some() {
            return;
        }
        match self.server.signal(Signal::Fast) {
            // Waiting lets an immediate start find the folder unused; otherwise that start waits.
            Ok(()) if self.server.exits_within(self.limits.drop) => {
                socket::remove_short_directory(&self.socket_directory);
            }
            Ok(()) => tracing::info!(postgres.pid = self.pid(), "PostgreSQL is still stopping"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "PostgreSQL keeps running, and the next start adopts it",
            ),
        }
    }
}

/// Signals, when dropped, that the caller no longer waits.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
