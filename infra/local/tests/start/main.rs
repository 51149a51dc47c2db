//! What an edition prints when it starts, and what it leaves behind. The bench measures how fast it starts.

#![expect(clippy::unwrap_used, reason = "a test fails if its edition does not start")]

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use testkit::{eventually, within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// A `vitrina` process that has printed its `ready` line.
struct RunningEdition {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl RunningEdition {
    async fn start(data: &Path, arguments: &[&str]) -> Self {
        let stderr = std::fs::File::create(data.join("stderr.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vitrina"))
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .env_remove("DATABASE_URL")
            .env("VITRINA_DATA", data)
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        within("the first line of a start", stdout.read_line(&mut first)).await.unwrap();
        let url = first.trim_end().strip_prefix("ready ").unwrap_or_else(|| {
            panic!("{first:?}: {}", std::fs::read_to_string(data.join("stderr.log")).unwrap())
        });
        Self { child, stdout, url: url.to_owned() }
    }

    /// Sends a signal and waits for the process to exit. Returns its status and the output after the
    /// `ready` line.
    async fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
        let mut output = String::new();
        within("the end of the output", self.stdout.read_to_string(&mut output)).await.unwrap();
        (within("the exit", self.child.wait()).await.unwrap(), output)
    }
}

/// Processes with their working directory in this folder. PostgreSQL's are in the data directory of
/// its cluster.
fn processes_in(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        directory.starts_with(&folder).then_some(pid)
    });
    processes.collect()
}

#[tokio::test]
async fn up_is_ready_when_it_says_so_and_stops_without_leftovers() {
    let data = tempfile::tempdir().unwrap();
    let cluster = data.path().join("postgres/data");
    let pid_file = cluster.join("postmaster.pid");
    // SIGINT and SIGTERM, on an empty folder and on the folder of an earlier start.
    for signal in ["-INT", "-TERM", "-INT"] {
        let edition = RunningEdition::start(data.path(), &["up"]).await;
        let url = edition.url.clone();
        let response = reqwest::get(format!("{url}/readyz")).await.unwrap();
        assert!(response.status().is_success(), "it printed ready before it was: {response:?}");
        let postmaster = std::fs::read_to_string(&pid_file).unwrap();
        let postmaster: u32 = postmaster.lines().next().unwrap().parse().unwrap();
        assert!(processes_in(&cluster).contains(&postmaster));

        let (status, table) = edition.stop(signal).await;
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!pid_file.exists(), "{signal}");
        assert_eq!(processes_in(&cluster), [0; 0], "{signal} left a process behind");
        assert!(!data.path().join("running.json").exists(), "{signal}");

        let row = |name: &str| {
            let rows: Vec<&str> =
                table.lines().filter_map(|line| line.trim().strip_prefix(name)).collect();
            assert_eq!(rows.len(), 1, "{name} in {table}");
            rows[0].trim().to_owned()
        };
        assert_eq!(row("API"), format!("{url}/v1/catalog/products"));
        assert_eq!(row("Docs"), format!("{url}/docs"));
        assert_eq!(row("Data"), data.path().display().to_string());
        let password = std::fs::read_to_string(data.path().join("demo-password")).unwrap();
        for role in ["seller", "buyer", "operator"] {
            let login = format!("{role}@demo.vitrina.example, password {password}");
            assert_eq!(row(&format!("Demo {role}")), login);
        }
        assert!(row("Try").starts_with("vitrina token seller"));
        assert!(table.contains(&format!("process {postmaster}")), "{table}");
    }
}

#[tokio::test]
async fn no_command_starts_an_edition_with_demo_users_that_log_in() {
    let data = tempfile::tempdir().unwrap();
    let mut edition = RunningEdition::start(data.path(), &[]).await;
    let mut logins = Vec::new();
    while logins.len() < 3 {
        let mut line = String::new();
        let read = within("three log-ins", edition.stdout.read_line(&mut line)).await;
        assert_ne!(read.unwrap(), 0, "{logins:?}");
        let login = line.split_once("Demo ").and_then(|(_, login)| login.split_once(", password "));
        if let Some((user, password)) = login {
            let email = user.split_whitespace().last().unwrap();
            logins.push((email.to_owned(), password.trim().to_owned()));
        }
    }
    for (email, password) in logins {
        let login = serde_json::json!({"email": email, "password": password});
        let request =
            reqwest::Client::new().post(format!("{}/v1/auth/login", edition.url)).json(&login);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{email}");
    }
    assert_eq!(edition.stop("-INT").await.0.code(), Some(0));
}

#[tokio::test]
async fn interrupted_start_cleans_up_and_next_start_works() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vitrina"))
        .args(["up", "--listen", "127.0.0.1:0"])
        .env_remove("DATABASE_URL")
        .env("VITRINA_DATA", data.path())
        .kill_on_drop(true)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let cluster = data.path().join("postgres/data");
    // Interrupt it while PostgreSQL starts.
    let file = cluster.join("postmaster.pid");
    eventually("a PostgreSQL", async || file.exists().then_some(())).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = within("the exit", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes_in(&cluster), [0; 0], "processes of the interrupted start");

    let edition = RunningEdition::start(data.path(), &["up"]).await;
    assert_eq!(edition.stop("-TERM").await.0.code(), Some(0));
    assert_eq!(processes_in(&cluster), [0; 0]);
}

#[tokio::test]
async fn up_does_not_print_a_password_that_the_demo_users_lack() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("demo-password");
    let first = RunningEdition::start(data.path(), &["up"]).await;
    assert_eq!(first.stop("-TERM").await.0.code(), Some(0));
    std::fs::remove_file(&file).unwrap();
    // The first start creates the file again, and the second start reads it.
    for _ in 0..2 {
        let edition = RunningEdition::start(data.path(), &["up"]).await;
        let (status, table) = edition.stop("-TERM").await;
        assert_eq!(status.code(), Some(0));
        let password = std::fs::read_to_string(&file).unwrap();
        assert!(!table.contains(&password), "{table}");
        for role in ["seller", "buyer", "operator"] {
            let row =
                format!("{role}@demo.vitrina.example, with a password that is not in this folder");
            assert!(table.contains(&row), "{table}");
        }
        assert!(table.contains(&format!("created them to {}", file.display())), "{table}");
    }
}

#[tokio::test]
async fn start_fails_before_postgresql_when_demo_password_is_empty() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("demo-password");
    std::fs::write(&file, "").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_vitrina"))
        .args(["up", "--listen", "127.0.0.1:0"])
        .env_remove("DATABASE_URL")
        .env("VITRINA_DATA", data.path())
        .kill_on_drop(true)
        .output();
    let ended = within("the failed start", ended).await.unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(1), &b""[..]));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.contains(&format!("the demo password in {}", file.display())), "{stderr}");
    assert!(!data.path().join("postgres").exists());
}
