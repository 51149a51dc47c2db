//! A cluster for tests that is removed when the test process ends, in whatever way.
//!
//! A test process offers no hook: statics are never dropped, and a process may abort or be killed. But
//! the kernel always closes its files. So the server runs under a shell that holds the read end of a
//! pipe, and only the test process holds the write end.

use std::{
    fs::{File, Permissions},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    Binaries, Error, POLL_INTERVAL, Search,
    account::Account,
    log,
    memory::has_memory,
    postmaster::PidFile,
    probe::{self, Readiness},
    settings::{self, Purpose},
    socket, url,
};

/// Creates the cluster and runs the server. When the pipe closes, stops the server and removes
/// everything. The server and `initdb` do not inherit the pipe, so it closes with the owner.
const WATCHDOG: &str = r#"
folder=$1 data=$2 initdb=$3 words=$4 postgres=$5 socket=$6
shift 6
exec 3<&0 </dev/null
trap 'rm -rf "$folder" "$socket"' EXIT
"$initdb" -D "$data" $words 3<&- || exit
"$postgres" "$@" 3<&- &
server=$!
(read -r line <&3; kill -s QUIT "$server") &
reader=$!
exec 3<&-
wait "$server"
status=$?
kill "$reader" 2>/dev/null
exit "$status"
"#;

/// Timeouts of a start and a stop.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory that a cluster of tests may use, in bytes. Test processes create up to a hundred databases of
/// 8 MB and 256 MB of log, and two processes may run at the same time.
const MEMORY: u64 = 4 << 30;

/// A server with an empty cluster in a temporary folder, for this process only.
///
/// When this process ends or drops this, the server stops and the folder is removed. Committed data
/// survives a killed server, but not a power failure. Keep it in a static that tests share, each with
/// its own database.
#[derive(Debug)]
pub struct Ephemeral {
    folder: PathBuf,
    socket_directory: PathBuf,
    pid: u32,
    watchdog: Watchdog,
}

/// The shell and the pipe that keeps it waiting.
#[derive(Debug)]
struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Ephemeral {
    /// Creates a cluster and starts its server. Blocks for about a second, until it accepts
    /// connections. Works inside and outside an async runtime.
    ///
    /// # Errors
    ///
    /// Those of [`Binaries::find`], [`Error::Files`] if the disk is full, [`Error::Exited`] with the
    /// output of `initdb` or the server, [`Error::Silent`] if it does not respond within 60 s.
    pub fn start(search: &Search) -> Result<Self, Error> {
        let binaries = Binaries::find(search)?;
        let account = Account::choose()?;
        let temporary = folder(&account)?;
        let folder = std::fs::canonicalize(temporary.path())
            .map_err(Error::files("finding", temporary.path()))?;
        account.own(&folder)?;
        let socket_directory = if socket::fits(&folder) {
            folder.clone()
        } else {
            socket::short_directory(&folder, &account)?
        };
        let data = folder.join("data");
        // Only this process reads it, so it needs no name and disappears when it is closed.
        let failed = || Error::files("creating a file for the log next to", &folder);
        let output = tempfile::tempfile().map_err(failed())?;
        let shell = Path::new("/bin/sh");
        let mut shell = account
            .command(shell)
            .args(["-c", WATCHDOG, "vitrina-test-postgres"])
            .arg(&folder)
            .arg(&data)
            .arg(&binaries.initdb)
            .arg(settings::initdb(Purpose::Test).join(" "))
            .arg(&binaries.postgres)
            .arg(&socket_directory)
            .args(settings::server(Purpose::Test, &data, &socket_directory))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(failed())?)
            .stderr(output.try_clone().map_err(failed())?)
            .spawn()
            .map_err(|source| account.refused(shell, source))?;
        // From now on the watchdog removes it.
        let _ = temporary.keep();
        let watchdog = Watchdog { pipe: shell.stdin.take(), shell };
        let mut starting = Self { folder, socket_directory, pid: 0, watchdog };
        starting.pid = starting.wait(&data, &output)?;
        Ok(starting)
    }

    /// The URL of `database` on this server, for sqlx and libpq. `postgres` always exists; others must
    /// be created.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket_directory, database)
    }

    /// The process id of the server, which is not restarted when it is killed.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until the server accepts connections, and returns its process id.
    fn wait(&mut self, data: &Path, output: &File) -> Result<u32, Error> {
        let begun = Instant::now();
        loop {
            let status = self.watchdog.shell.try_wait();
            if let Some(status) = status.map_err(Error::files("waiting for the server on", data))? {
                return Err(Error::Exited {
                    directory: data.to_owned(),
                    status: status_text(status),
                    log: log::tail(output, 0, Path::new("of the test cluster")),
                });
            }
            // `initdb` runs servers there too, but without a socket.
            if let Some(PidFile { pid, socket_directory: Some(directory), ready: true }) =
                PidFile::read(data)?
                && probe::check(&directory) == Readiness::Ready
            {
                return Ok(pid);
            }
            if begun.elapsed() >= START_TIMEOUT {
                let log = log::tail(output, 0, Path::new("of the test cluster"));
                return Err(Error::Silent {
                    directory: data.to_owned(),
                    waited: START_TIMEOUT,
                    log,
                });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Watchdog {
    /// Stops everything and waits up to 10 s.
    fn drop(&mut self) {
        drop(self.pipe.take());
        let begun = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) && begun.elapsed() < STOP_TIMEOUT {
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Creates a temporary folder that the user that runs the server may write to: in `TMPDIR` if it is
/// set, else in memory if there is enough of it, else in `/tmp`.
///
/// A database is 300 files. On a disk, creating and removing thousands of databases costs more than
/// what the tests do with them: 190 ms each on ext4, 31 ms in memory.
fn folder(account: &Account) -> Result<tempfile::TempDir, Error> {
    let memory = Path::new("/dev/shm");
    let preferred = match std::env::var_os("TMPDIR") {
        None if has_memory(memory, MEMORY) => memory.to_owned(),
        _ => std::env::temp_dir(),
    };
    let base = if account.can_write(&preferred)? { preferred } else { PathBuf::from("/tmp") };
    tempfile::Builder::new()
        .prefix("vitrina-test-")
        // It contains the socket, and PostgreSQL trusts every connection over it.
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&base)
        .map_err(Error::files("creating a temporary folder in", base))
}

/// Decodes the exit status of a shell: above 128 is the signal that ended its child.
fn status_text(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 => ExitStatus::from_raw(code - 128).to_string(),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_a_shell_names_the_signal_that_ended_its_child() {
        let exited = |code: i32| status_text(ExitStatus::from_raw(code << 8));
        assert_eq!(exited(1), "exit status: 1");
        assert_eq!(exited(128 + 9), "signal: 9 (SIGKILL)");
        assert_eq!(exited(128 + 6), "signal: 6 (SIGABRT)");
    }
}
