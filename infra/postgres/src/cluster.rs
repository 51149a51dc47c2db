//! The kept cluster: whatever state the last process left it in, a start ends with a server that
//! answers.

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
/// What it has committed is on the disk. It listens on a unix socket that only its user and root
/// can reach. Dropping it tells the server to stop and waits three seconds at most;
/// [`Cluster::stop`] waits for the end. When this process is killed, the server runs on, and the
/// next [`Cluster::start`] on the folder takes it over.
#[derive(Debug)]
pub struct Cluster {
    pub(super) server: Server,
    pub(super) socket_directory: PathBuf,
    pub(super) limits: Limits,
    /// Whether the server stays when this goes.
    pub(super) left: bool,
    // Let go of after `drop` has run.
    pub(super) home: Home,
}

impl Cluster {
    /// Makes the cluster if there is none, starts the server or takes over one that an earlier
    /// process left running, and returns when it takes connections: in a tenth of a second, or
    /// after a crash in up to 60 s.
    ///
    /// Dropping the future calls the start off, and stops a server that it had started.
    ///
    /// # Errors
    ///
    /// Every [`Error`] but those of [`Binaries::find`](super::Binaries::find). After
    /// [`Error::StillRecovering`] the server goes on recovering, and a later start waits further;
    /// after any other, none runs that this had started.
    pub async fn start(options: StartOptions) -> Result<Self, Error> {
        let here = Arc::new(AtomicBool::new(true));
        let _until_dropped = Presence(Arc::clone(&here));
        spawn_blocking(move || Start { options, here }.run()).await?
    }

    /// The address of `database` on this server, for sqlx and every libpq program. Whether there is
    /// such a database is not looked at; `postgres` always is.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket_directory, database)
    }

    /// The process of the server. Killing it is what a crash test does; it has to be waited for
    /// with [`Cluster::wait`] and started again by dropping this and calling [`Cluster::start`].
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// PostgreSQL's own data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.home.data()
    }

    /// The file that the server logs to; about 8 MiB at most, and as much beside it as
    /// `server.log.old`.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// Whether the server's process is there.
    pub fn is_alive(&self) -> bool {
        self.server.exit().is_none()
    }

    /// Returns when the server has ended, whoever ended it, within a tenth of a second. Can be
    /// called again and dropped at any time.
    pub async fn wait(&self) -> Exit {
        self.server.ended().await
    }

    /// Stops the server and waits for its end: connections are broken, everything is written down.
    /// One that does not stop in 30 s is stopped at once, which costs the next start a recovery.
    /// Does nothing when it has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Unstoppable`] when it outlives even that, [`Error::Run`] when no shell can be run
    /// to signal it.
    pub async fn stop(&self) -> Result<(), Error> {
        let (server, patience) = (self.server.clone(), self.limits.stop);
        spawn_blocking(move || server.stop(patience)).await??;
        socket::remove_short_directory(&self.socket_directory);
        tracing::info!(postgres.pid = self.pid(), "PostgreSQL stopped");
        Ok(())
    }

    /// Goes without stopping the server, as a process does that is killed.
    #[cfg(test)]
    pub(super) fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.left || self.server.exit().is_some() {
            return;
        }
        match self.server.signal(Signal::Fast) {
            // Waiting lets a start that follows at once find the folder at rest; if not, that start
            // waits.
            Ok(()) if self.server.ends_within(self.limits.drop) => {
                socket::remove_short_directory(&self.socket_directory);
            }
            Ok(()) => tracing::info!(postgres.pid = self.pid(), "PostgreSQL is still stopping"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "PostgreSQL was left running, the next start takes it over",
            ),
        }
    }
}

/// Says, when dropped, that nobody waits any more.
struct Presence(Arc<AtomicBool>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
