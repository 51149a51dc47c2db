//! A cluster for tests that goes with the test process, however that process ends.
//!
//! Tests have no end that code could hang on: statics are never dropped, and a process may abort or
//! be killed. What always happens is that the kernel closes the files of a process. So the server
//! runs beneath a shell that holds the reading end of a pipe whose writing end is ours and no one
//! else's.

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
    postmaster::PidFile,
    probe::{self, Answer},
    settings::{self, Purpose},
    socket, url,
};

/// Makes the cluster, runs the server, and removes everything once the server has ended, which it
/// is told to when the pipe closes. The server and `initdb` do not get the pipe: the end of the
/// owner is all that is waited for.
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

/// How long a start and an end may take.
const START: Duration = Duration::from_mins(1);
const END: Duration = Duration::from_secs(10);

/// A server with an empty cluster in a temporary folder, for this process alone.
///
/// When this process ends in any way, or drops this, the server ends and the folder is removed.
/// What is committed outlives a killed server, but not a power cut. Meant to be kept in a static
/// and shared by tests, each with a database of its own.
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
    /// Makes a cluster and starts its server. Blocks for about a second, until it takes
    /// connections; may be called from anywhere, a runtime or none.
    ///
    /// # Errors
    ///
    /// Those of [`Binaries::find`], [`Error::Files`] when there is no room for it, [`Error::Ended`]
    /// with the words of `initdb` or the server, [`Error::Silent`] when it does not answer in 60 s.
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
        // Nobody but this process reads it, so it needs no name, and is gone with the last who has
        // it open.
        let failed = || Error::files("making a file for the log, beside", &folder);
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
        // From here on the watchdog removes it.
        let _ = temporary.keep();
        let watchdog = Watchdog { pipe: shell.stdin.take(), shell };
        let mut starting = Self { folder, socket_directory, pid: 0, watchdog };
        starting.pid = starting.wait(&data, &output)?;
        Ok(starting)
    }

    /// The address of `database` on this server, for sqlx and every libpq program. `postgres`
    /// always is; others have to be created.
    pub fn url(&self, database: &str) -> String {
        url(&self.socket_directory, database)
    }

    /// The process of the server. It is not started again when it is killed.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The folder that goes with this process.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until it takes connections, and returns the server's process.
    fn wait(&mut self, data: &Path, output: &File) -> Result<u32, Error> {
        let begun = Instant::now();
        loop {
            let status = self.watchdog.shell.try_wait();
            if let Some(status) = status.map_err(Error::files("waiting for the server on", data))? {
                return Err(Error::Ended {
                    directory: data.to_owned(),
                    status: status_text(status),
                    log: log::tail(output, 0, Path::new("of the test cluster")),
                });
            }
            // `initdb` runs servers there too, but none that has a socket.
            if let Some(PidFile { pid, socket_directory: Some(directory), ready: true }) =
                PidFile::read(data)?
                && probe::ask(&directory) == Answer::Ready
            {
                return Ok(pid);
            }
            if begun.elapsed() >= START {
                let log = log::tail(output, 0, Path::new("of the test cluster"));
                return Err(Error::Silent { directory: data.to_owned(), waited: START, log });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Watchdog {
    /// Tells it to end everything, and waits ten seconds at most.
    fn drop(&mut self) {
        drop(self.pipe.take());
        let begun = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) && begun.elapsed() < END {
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// A new folder where this machine keeps temporary files, or where everybody may, when the user
/// that runs the server (and removes the folder) may not in the former.
fn folder(account: &Account) -> Result<tempfile::TempDir, Error> {
    let usual = std::env::temp_dir();
    let base = if account.can_write(&usual)? { usual } else { PathBuf::from("/tmp") };
    tempfile::Builder::new()
        .prefix("vitrina-test-")
        // The socket is in it, and whoever reaches that is let in.
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&base)
        .map_err(Error::files("making a temporary folder in", base))
}

/// A shell tells of a signal that ended its child by a number above 128.
fn status_text(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 => ExitStatus::from_raw(code - 128).to_string(),
        _ => status.to_string(),
    }
}
