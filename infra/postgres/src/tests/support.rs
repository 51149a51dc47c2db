//! Support for the tests: a small client, an owner that can be killed, a list of running servers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{super::probe, OWNER};

/// Longest wait for anything. It ends a hang; it does not measure speed.
const MAX_WAIT: Duration = Duration::from_mins(5);

pub(super) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    // Real time: it only ends a hang.
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < MAX_WAIT, "timed out waiting until {what}");
        // Real time: no more than a pause between checks.
        thread::sleep(Duration::from_millis(10));
    }
}

pub(super) fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success());
}

/// A stopped process, which nothing but SIGKILL ends. Killed on drop.
pub(super) struct Stopped(u32);

impl Stopped {
    pub(super) fn new(pid: u32) -> Self {
        signal("STOP", pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("KILL", self.0);
    }
}

pub(super) fn socket_directory(url: &str) -> PathBuf {
    let (_, query) = url.split_once("?host=").unwrap();
    PathBuf::from(query.strip_suffix("&sslmode=disable").unwrap())
}

/// A minimal client: text queries, which return the values of all rows in order.
pub(super) struct Client(UnixStream);

impl Client {
    /// Takes the socket from the URL, so that the URL is tested too.
    pub(super) fn connect(url: &str) -> Self {
        let (_, rest) = url.split_once("@localhost:5432/").unwrap();
        let (database, query) = rest.split_once("?host=").unwrap();
        let directory = query.strip_suffix("&sslmode=disable").unwrap();
        let mut stream = UnixStream::connect(format!("{directory}/.s.PGSQL.5432")).unwrap();
        stream.write_all(&probe::startup(database)).unwrap();
        let mut client = Self(stream);
        client.rows().unwrap();
        client
    }

    pub(super) fn send(&mut self, sql: &str) {
        let length = u32::try_from(sql.len() + 5).unwrap().to_be_bytes();
        self.0.write_all(&[b"Q", &length[..], sql.as_bytes(), b"\0"].concat()).unwrap();
    }

    pub(super) fn query(&mut self, sql: &str) -> Vec<String> {
        self.send(sql);
        self.rows().unwrap()
    }

    /// The error that `sql` causes. The client is of no use after it.
    pub(super) fn refusal(mut self, sql: &str) -> String {
        self.send(sql);
        self.rows().unwrap_err()
    }

    fn rows(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).map_err(|error| error.to_string())?;
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) - 4;
            let mut body = vec![0; length as usize];
            self.0.read_exact(&mut body).map_err(|error| error.to_string())?;
            match head[0] {
                b'Z' => return Ok(values),
                b'E' => return Err(String::from_utf8_lossy(&body).into_owned()),
                b'D' => {
                    let mut rest = &body[2..];
                    while let Some((length, after)) = rest.split_first_chunk::<4>() {
                        let (value, after) = after.split_at(u32::from_be_bytes(*length) as usize);
                        values.push(String::from_utf8_lossy(value).into_owned());
                        rest = after;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The process group of a process.
pub(super) fn group(pid: u32) -> String {
    let pid = pid.to_string();
    let listed = Command::new("ps").args(["-o", "pgid=", "-p", &pid]).output().unwrap();
    assert!(!listed.stdout.is_empty());
    String::from_utf8(listed.stdout).unwrap().trim().to_owned()
}

/// The running servers with their data.
pub(super) fn servers() -> Vec<(u32, PathBuf)> {
    let listed = Command::new("ps").args(["-ww", "-eo", "pid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            let (pid, words) = line.trim().split_once(' ')?;
            let (_, rest) = words.split_once("postgres -D ")?;
            let (data, _) = rest.split_once(" -c ")?;
            Some((pid.parse().ok()?, PathBuf::from(data)))
        })
        .collect()
}

/// A process that owns a server: this test program, started to run only the "test" below.
pub(super) struct Owner {
    process: Child,
    pub(super) folder: PathBuf,
    pub(super) pid: u32,
}

impl Owner {
    pub(super) fn start(kind: &str, folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
            // Test names do not contain the crate.
            .arg(OWNER.split_once("::").unwrap().1)
            .args(["--skip", &format!("{OWNER_PREFIX}{kind}:{}", folder.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let words: Vec<String> = lines
            .filter_map(|line| line.strip_prefix(OWNER_PREFIX).map(str::to_owned))
            .take(2)
            .collect();
        let [folder, pid] = &words[..] else { panic!("the owner did not start: {words:?}") };
        Self { process, folder: PathBuf::from(folder), pid: pid.parse().unwrap() }
    }

    /// Like `kill -9`.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Prefix of the arguments that distinguish the owner from a run of the ignored tests, and of its
/// output.
pub(super) const OWNER_PREFIX: &str = "owner-of-a-server:";
