//! The running server from outside: its pid file, proof of its identity, and signals.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Error, POLL_INTERVAL, account::Account};

/// The content of `postmaster.pid`. The server writes it in steps, so only the first line is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PidFile {
    pub(super) pid: u32,
    pub(super) socket_directory: Option<PathBuf>,
    /// Whether the server accepts connections: false while it starts or stops.
    pub(super) ready: bool,
}

impl PidFile {
    fn path(data: &Path) -> PathBuf {
        data.join("postmaster.pid")
    }

    /// Reads the file. `None` if it is missing or still empty.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(data);
        match fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::files("reading", path)(error)),
        }
    }

    /// Like [`PidFile::read`], but waits for content. A file that stays empty was left by a server
    /// killed at that moment, and is removed, because the next server would refuse to start.
    pub(super) fn read_when_written(data: &Path) -> Result<Option<Self>, Error> {
        const EMPTY_FILE_TIMEOUT: Duration = Duration::from_secs(1);
        let path = Self::path(data);
        let begun = Instant::now();
        while fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0) {
            if begun.elapsed() >= EMPTY_FILE_TIMEOUT {
                fs::remove_file(&path).map_err(Error::files("removing the empty", &path))?;
            }
            thread::sleep(POLL_INTERVAL);
        }
        Self::read(data)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
        let pid = str::from_utf8(lines.first()?).ok()?.trim().parse().ok()?;
        let socket_directory = lines
            .get(4)
            .filter(|line| !line.is_empty())
            .map(|line| PathBuf::from(std::ffi::OsString::from_vec(line.to_vec())));
        let ready = lines.get(7).is_some_and(|line| line.trim_ascii() == b"ready");
        Some(Self { pid, socket_directory, ready })
    }

    /// Makes a stale pid file acceptable to the next server, even if its pid now belongs to another
    /// process, as after the restart of a container, where pids repeat. The server would refuse.
    ///
    /// The file is not removed, because it also names the shared memory of the last server, and the
    /// next one must not start while a process still uses that. Its pid is replaced by that of this
    /// process: a server knows that its parent is not another server.
    pub(super) fn replace_pid(data: &Path, account: &Account) -> Result<(), Error> {
        let path = Self::path(data);
        let failed = || Error::files("updating", &path);
        let old = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(failed())?,
        };
        let rest = old.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &old[end..]);
        let new = data.join("postmaster.pid.new");
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed()(error));
        }
        // `create_new` does not follow a symlink that the user of the server may have created.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(failed())?;
        write!(file, "{}", std::process::id()).map_err(failed())?;
        file.write_all(rest).map_err(failed())?;
        account.own(&new)?;
        fs::rename(&new, &path).map_err(failed())
    }
}

/// Whether process `pid` is a PostgreSQL server on `data`, an absolute path without symlinks. A zombie
/// does not count.
///
/// An error is not a "no": this process may have too many open files.
pub(super) fn is_server_of(pid: u32, data: &Path) -> Result<bool, Error> {
    /// `ESRCH`: the process ended while it was read.
    const NO_SUCH_PROCESS: i32 = 3;
    let path = format!("/proc/{pid}/cmdline");
    match fs::read(&path) {
        Ok(line) => {
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            Ok(words_name_server(&words, data))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Systems without these files have a command.
            if Path::new("/proc/self").exists() { Ok(false) } else { listed_as_server(pid, data) }
        }
        Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => Ok(false),
        // Hidden, so it belongs to another user; this server would be readable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(Error::files("reading the command line", path)(error)),
    }
}

fn words_name_server(words: &[&[u8]], data: &Path) -> bool {
    let path = |word: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(word.to_vec()));
    let program = words.first().map(|word| path(word));
    let program = program.as_deref().and_then(Path::file_name);
    if !program.is_some_and(|name| name == "postgres" || name == "postmaster") {
        return false;
    }
    words.windows(2).any(|pair| {
        pair[0] == b"-D"
            && (pair[1] == data.as_os_str().as_bytes()
                || fs::canonicalize(path(pair[1])).is_ok_and(|path| path == data))
    })
}

fn listed_as_server(pid: u32, data: &Path) -> Result<bool, Error> {
    let program = Path::new("ps");
    Command::new(program)
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .output()
        .map(|output| line_names_server(&output.stdout, data))
        .map_err(|source| Account::Own.refused(program, source))
}

/// The same for a command line with lost word boundaries: it always contains ` -D <data> -c `.
fn line_names_server(line: &[u8], data: &Path) -> bool {
    let mut arguments = b" -D ".to_vec();
    arguments.extend_from_slice(data.as_os_str().as_bytes());
    arguments.extend_from_slice(b" -c ");
    line.windows(arguments.len()).position(|window| window == arguments).is_some_and(|at| {
        line[..at].ends_with(b"/postgres") || line[..at].ends_with(b"/postmaster")
    })
}

/// A signal that stops a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Fast shutdown: closes connections, writes a checkpoint, exits.
    Fast,
    /// Immediate shutdown: the next start needs crash recovery.
    Immediate,
    /// Killed by the operating system.
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// Sends `signal` to `pid`, which the caller has just proved to be the server. A process that is gone
/// is not an error. Uses the builtin `kill` of the shell, because not every system has the program.
pub(super) fn send(pid: u32, signal: Signal) -> Result<(), Error> {
    let shell = Path::new("/bin/sh");
    Command::new(shell)
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal.name(), &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|_| ())
        .map_err(|source| Account::Own.refused(shell, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_is_read_at_every_stage_of_its_writing() {
        let whole = b"123\n/data\n1700000000\n5432\n/data/run\n\n  1234  5\nready   \n";
        let expected =
            PidFile { pid: 123, socket_directory: Some("/data/run".into()), ready: true };
        assert_eq!(PidFile::parse(whole), Some(expected));
        let stopping = PidFile::parse(b"123\n/d\n17\n5432\n/d/run\n\n 1 2\nstopping\n").unwrap();
        assert!(!stopping.ready);
        let begun = PidFile::parse(b"123\n/d\n17\n5432\n").unwrap();
        assert_eq!(begun, PidFile { pid: 123, socket_directory: None, ready: false });
        assert_eq!(PidFile::parse(b""), None);
    }

    #[test]
    fn only_a_server_on_this_data_is_recognised() {
        let data = Path::new("/no/such/data");
        let ours = |words: &[&[u8]]| words_name_server(words, data);
        assert!(ours(&[b"/usr/bin/postgres", b"-D", b"/no/such/data", b"-c", b"port=1"]));
        assert!(!ours(&[b"/usr/bin/postgres", b"-D", b"/no/such/data2"]));
        assert!(!ours(&[b"postgres: checkpointer", b""]));
        assert!(!ours(&[b"/bin/vi", b"-D", b"/no/such/data"]));
        assert!(!ours(&[b""]), "a process that has exited has one empty word");
        assert!(line_names_server(b"/usr/bin/postgres -D /no/such/data -c port=1\n", data));
        assert!(!line_names_server(b"/usr/bin/postgres -D /no/such/data2 -c port=1\n", data));
        assert!(!line_names_server(b"/bin/vi -D /no/such/data -c port=1\n", data));
    }

    #[test]
    fn other_process_is_not_recognised() {
        assert!(!is_server_of(std::process::id(), Path::new("/")).unwrap());
        assert!(!is_server_of(u32::MAX, Path::new("/")).unwrap());
    }
}
