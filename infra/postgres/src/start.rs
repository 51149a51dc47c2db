//! A start: from any state of the data folder to a server that accepts connections.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Binaries, Cluster, Error, Exit, POLL_INTERVAL,
    home::Home,
    initdb,
    log::Log,
    postmaster::{self, PidFile},
    probe::{self, Readiness},
    server::{Server, StopTimeouts},
    socket,
};

/// Progress of a start, for its observer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// No cluster exists yet. Creating one takes about a second.
    Creating,
    /// A server of an earlier process is adopted.
    Adopting {
        /// Its process id.
        pid: u32,
    },
    /// A server is being started.
    Starting,
    /// The server does not accept connections yet. Reported every second.
    Waiting {
        /// The time waited so far.
        waited: Duration,
        /// The message of the server.
        reason: String,
    },
    /// The server accepts connections.
    Ready,
}

/// Timeouts of a start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For a server to accept connections, including crash recovery.
    pub(super) ready: Duration,
    /// For an adopted server to respond at all.
    pub(super) silence: Duration,
    pub(super) stop: StopTimeouts,
    /// For the drop of a cluster.
    pub(super) drop: Duration,
}

const LIMITS: Limits = Limits {
    ready: Duration::from_mins(1),
    silence: Duration::from_secs(10),
    stop: StopTimeouts {
        fast: Duration::from_secs(30),
        immediate: Duration::from_secs(10),
        kill: Duration::from_secs(5),
    },
    drop: Duration::from_secs(3),
};

/// How to start a persistent cluster.
pub struct StartOptions {
    /// The folder of the cluster, created if it is missing.
    pub directory: PathBuf,
    /// The programs, from [`Binaries::find_for`].
    pub binaries: Binaries,
    /// Where root puts the data if the user of the server cannot enter `directory`. Default:
    /// `/var/lib/vitrina`.
    pub fallback: PathBuf,
    /// Called with the progress, from another thread. Must return quickly.
    pub on_progress: Option<Box<dyn Fn(Progress) + Send>>,
    limits: Limits,
}

impl StartOptions {
    /// A cluster in `directory`, without an observer.
    pub fn new(directory: impl Into<PathBuf>, binaries: Binaries) -> Self {
        Self {
            directory: directory.into(),
            binaries,
            fallback: PathBuf::from("/var/lib/vitrina"),
            on_progress: None,
            limits: LIMITS,
        }
    }

    #[cfg(test)]
    pub(super) fn shorten_timeouts(&mut self) {
        self.limits.silence = Duration::from_millis(500);
        self.limits.stop.fast = Duration::from_millis(100);
        self.limits.stop.immediate = Duration::from_millis(100);
    }

    /// Gives up after `silence` without a response, and after `ready` with responses.
    #[cfg(test)]
    pub(super) fn set_patience(&mut self, silence: Duration, ready: Duration) {
        self.limits.silence = silence;
        self.limits.ready = ready;
    }
}

impl fmt::Debug for StartOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartOptions")
            .field("directory", &self.directory)
            .field("binaries", &self.binaries)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

/// A start, on a blocking thread.
pub(super) struct Start {
    pub(super) options: StartOptions,
    /// Whether the caller still waits.
    pub(super) wanted: Arc<AtomicBool>,
}

/// Outcome of waiting for a server.
enum Outcome {
    /// It accepts connections at this socket.
    Ready(PathBuf),
    Exited(Exit),
    /// It responds that it is not ready yet.
    Recovering(Duration),
    Silent(Duration),
}

impl Start {
    pub(super) fn run(&self) -> Result<Cluster, Error> {
        let options = &self.options;
        let home = Home::open(&options.directory, &options.fallback)?;
        let log = Log::at(home.log());
        log.bound().map_err(Error::files("shortening the log", home.log()))?;
        if !home.has_cluster()? {
            self.report(Progress::Creating);
            tracing::info!(directory = %home.data().display(), "creating a PostgreSQL cluster");
            initdb::create_cluster(&home, &options.binaries, &log, &|| self.is_cancelled())?;
        }
        home.check_major(&options.binaries)?;
        let begun = Instant::now();
        loop {
            let found = match self.adopt_running(&home, &log)? {
                None => self.launch(&home, &log, begun)?,
                found => found,
            };
            if let Some((server, socket_directory)) = found {
                let limits = options.limits;
                let cluster =
                    Cluster { server, socket_directory, limits, keeps_running: false, home };
                self.report(Progress::Ready);
                tracing::info!(
                    postgres.pid = cluster.pid(),
                    directory = %cluster.data_directory().display(),
                    "PostgreSQL is ready",
                );
                return Ok(cluster);
            }
            if self.is_cancelled() {
                return Err(Error::Cancelled);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Adopts a server that already runs on the data. `None` if no server runs.
    fn adopt_running(&self, home: &Home, log: &Log) -> Result<Option<(Server, PathBuf)>, Error> {
        let data = home.data();
        let Some(file) = PidFile::read_when_written(&data)? else {
            return Ok(None);
        };
        if !postmaster::is_server_of(file.pid, &data)? {
            remove_leftovers(home)?;
            return Ok(None);
        }
        tracing::info!(
            postgres.pid = file.pid,
            "PostgreSQL of an earlier process is still running"
        );
        self.report(Progress::Adopting { pid: file.pid });
        let server = Server::adopt(file.pid, home, log)?;
        match self.wait_for(&server, &data, self.options.limits.silence)? {
            Outcome::Ready(socket_directory) => return Ok(Some((server, socket_directory))),
            Outcome::Recovering(waited) => {
                return Err(Error::StillRecovering { directory: data, waited });
            }
            Outcome::Exited(_) => {}
            Outcome::Silent(waited) => {
                tracing::warn!(
                    postgres.pid = file.pid,
                    waited.seconds = waited.as_secs(),
                    "PostgreSQL of an earlier process does not respond; stopping it",
                );
                server.stop(self.options.limits.stop)?;
            }
        }
        // In a container without an init process, an orphan is never reaped and its pid stays in use.
        remove_leftovers(home)?;
        Ok(None)
    }

    /// Starts a server. `None` if another server that is just ending or starting prevented it.
    fn launch(
        &self,
        home: &Home,
        log: &Log,
        begun: Instant,
    ) -> Result<Option<(Server, PathBuf)>, Error> {
        let limits = self.options.limits;
        let directory = home.data();
        self.report(Progress::Starting);
        let socket_directory = socket::directory(home.location(), home.account())?;
        let server = Server::launch(home, &self.options.binaries, log, &socket_directory)?;
        match self.wait_for(&server, &directory, limits.ready) {
            Ok(Outcome::Ready(socket_directory)) => Ok(Some((server, socket_directory))),
            Ok(Outcome::Exited(exit)) => {
                // The child processes of a killed server end a little later. Until then a new server
                // refuses to start.
                let others_end = exit.log.contains("shared memory block");
                // A server that a killed process has just started may not have written its file at
                // the time of the check.
                let other_runs = match PidFile::read(&directory)? {
                    Some(file) => postmaster::is_server_of(file.pid, &directory)?,
                    None => false,
                };
                if (others_end || other_runs) && begun.elapsed() < limits.ready {
                    thread::sleep(POLL_INTERVAL * 10);
                    return Ok(None);
                }
                Err(Error::Exited { directory, status: exit.status_text(), log: exit.log })
            }
            // Stopping it would restart the recovery every time, and it would never finish.
            Ok(Outcome::Recovering(waited)) => Err(Error::StillRecovering { directory, waited }),
            Ok(Outcome::Silent(waited)) => {
                server.stop(limits.stop)?;
                let log = server.exit().map(|exit| exit.log).unwrap_or_default();
                Err(Error::Silent { directory, waited, log })
            }
            Err(error) => {
                server.stop(limits.stop)?;
                Err(error)
            }
        }
    }

    /// Waits until `server` accepts connections, but only up to `silence` without any response.
    fn wait_for(&self, server: &Server, data: &Path, silence: Duration) -> Result<Outcome, Error> {
        let begun = Instant::now();
        let mut last_response = None;
        let mut last_report = Duration::ZERO;
        loop {
            if self.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(exit) = server.exit() {
                return Ok(Outcome::Exited(exit));
            }
            let file = PidFile::read(data)?.filter(|file| file.pid == server.pid());
            if let Some(PidFile { socket_directory: Some(directory), ready, .. }) = file {
                match probe::check(&directory) {
                    Readiness::Ready if ready => return Ok(Outcome::Ready(directory)),
                    // It accepted the connection and has received a signal to stop since, or is about to
                    // report that it is ready.
                    Readiness::Ready => last_response = Some(Instant::now()),
                    Readiness::NotYet(reason) => {
                        last_response = Some(Instant::now());
                        let waited = begun.elapsed();
                        if waited >= last_report + Duration::from_secs(1) {
                            last_report = waited;
                            self.report(Progress::Waiting { waited, reason });
                        }
                    }
                    Readiness::NoResponse => {}
                }
            }
            let waited = begun.elapsed();
            if last_response.unwrap_or(begun).elapsed() >= silence {
                return Ok(Outcome::Silent(waited));
            }
            if waited >= self.options.limits.ready {
                return Ok(Outcome::Recovering(waited));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn is_cancelled(&self) -> bool {
        !self.wanted.load(Ordering::Relaxed)
    }

    fn report(&self, progress: Progress) {
        if let Some(on_progress) = &self.options.on_progress {
            on_progress(progress);
        }
    }
}

/// Removes leftovers of an exited server that would keep the next from starting. Its pid may belong to
/// another process by now.
fn remove_leftovers(home: &Home) -> Result<(), Error> {
    PidFile::replace_pid(&home.data(), home.account())?;
    socket::clear(&socket::directory(home.location(), home.account())?)
}
