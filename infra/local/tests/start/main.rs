//! How fast an edition starts, what it says then, and what it leaves behind.
//!
//! These tests are a program of their own and run one after another: what is measured is the
//! start, not the other tests.

#![expect(clippy::unwrap_used, reason = "a test whose edition cannot be started has failed")]

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long a start may take, the making of everything included.
const START: Duration = Duration::from_secs(3);

const PATIENCE: Duration = Duration::from_mins(1);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A command that has said that it is ready.
struct Up {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
    took: Duration,
}

impl Up {
    async fn start(data: &Path, arguments: &[&str]) -> Self {
        let stderr = std::fs::File::create(data.join("stderr.log")).unwrap();
        let begun = Instant::now();
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
        timeout(PATIENCE, stdout.read_line(&mut first)).await.unwrap().unwrap();
        let took = begun.elapsed();
        let url = first.trim_end().strip_prefix("ready ").unwrap_or_else(|| {
            panic!("{first:?}: {}", std::fs::read_to_string(data.join("stderr.log")).unwrap())
        });
        Self { child, stdout, url: url.to_owned(), took }
    }

    /// Sends a signal, and waits until it has stopped by itself. Returns what it had said beside
    /// the first line, too.
    async fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
        let mut said = String::new();
        timeout(PATIENCE, self.stdout.read_to_string(&mut said)).await.unwrap().unwrap();
        (timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap(), said)
    }
}

/// Processes that work in this folder, as PostgreSQL's do in that of the cluster.
fn processes_in(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let place = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        place.starts_with(&folder).then_some(pid)
    });
    processes.collect()
}

#[tokio::test]
async fn it_is_ready_within_three_seconds_says_where_what_is_and_leaves_no_process_behind() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let data = tempfile::tempdir().unwrap();
    let cluster = data.path().join("postgres/data");
    let pid_file = cluster.join("postmaster.pid");
    // Ctrl-C and SIGTERM, after the first start and after one on what that left.
    for (nth, signal) in ["-INT", "-TERM", "-INT"].into_iter().enumerate() {
        let up = Up::start(data.path(), &["up"]).await;
        assert!(up.took < START, "start {nth} took {:?}", up.took);
        let url = up.url.clone();
        let answer = reqwest::get(format!("{url}/readyz")).await.unwrap();
        assert!(answer.status().is_success(), "ready is ready: {answer:?}");
        let postmaster = std::fs::read_to_string(&pid_file).unwrap();
        let postmaster: u32 = postmaster.lines().next().unwrap().parse().unwrap();
        assert!(processes_in(&cluster).contains(&postmaster));

        let (status, table) = up.stop(signal).await;
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!pid_file.exists(), "{signal}");
        assert_eq!(processes_in(&cluster), [0; 0], "{signal} leaves no process behind");
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
async fn without_a_command_it_starts_and_a_demo_user_of_the_table_can_log_in() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let data = tempfile::tempdir().unwrap();
    let mut up = Up::start(data.path(), &[]).await;
    assert!(up.took < START, "it took {:?}", up.took);
    let mut logins = Vec::new();
    while logins.len() < 3 {
        let mut line = String::new();
        assert_ne!(timeout(PATIENCE, up.stdout.read_line(&mut line)).await.unwrap().unwrap(), 0);
        let login = line.split_once("Demo ").and_then(|(_, login)| login.split_once(", password "));
        if let Some((user, password)) = login {
            let email = user.split_whitespace().last().unwrap();
            logins.push((email.to_owned(), password.trim().to_owned()));
        }
    }
    for (email, password) in logins {
        let login = serde_json::json!({"email": email, "password": password});
        let request = reqwest::Client::new().post(format!("{}/v1/auth/login", up.url)).json(&login);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{email}");
    }
    assert_eq!(up.stop("-INT").await.0.code(), Some(0));
}

#[tokio::test]
async fn a_start_that_is_interrupted_leaves_no_process_behind_and_the_next_one_goes_on() {
    let _alone = ONE_AT_A_TIME.lock().await;
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
    let begun = Instant::now();
    // Half-way: the cluster is being made, or PostgreSQL starts.
    while !cluster.join("postmaster.pid").exists() {
        assert!(begun.elapsed() < PATIENCE, "there is no cluster");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes_in(&cluster), [0; 0], "of the interrupted start");

    let up = Up::start(data.path(), &["up"]).await;
    assert!(up.took < START, "it took {:?}", up.took);
    assert_eq!(up.stop("-TERM").await.0.code(), Some(0));
    assert_eq!(processes_in(&cluster), [0; 0]);
}

#[tokio::test]
async fn a_password_that_is_not_that_of_the_demo_users_is_not_told_as_theirs() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("demo-password");
    let first = Up::start(data.path(), &["up"]).await;
    assert_eq!(first.stop("-TERM").await.0.code(), Some(0));
    std::fs::remove_file(&file).unwrap();
    // The first start makes a new file, and the second one finds it.
    for _ in 0..2 {
        let up = Up::start(data.path(), &["up"]).await;
        let (status, table) = up.stop("-TERM").await;
        assert_eq!(status.code(), Some(0));
        let password = std::fs::read_to_string(&file).unwrap();
        assert!(!table.contains(&password), "{table}");
        for role in ["seller", "buyer", "operator"] {
            let row = format!("{role}@demo.vitrina.example, whose password is another");
            assert!(table.contains(&row), "{table}");
        }
        assert!(table.contains(&format!("made them to {}", file.display())), "{table}");
    }
}

#[tokio::test]
async fn an_empty_password_is_refused_before_anything_is_made() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("demo-password");
    std::fs::write(&file, "").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_vitrina"))
        .args(["up", "--listen", "127.0.0.1:0"])
        .env_remove("DATABASE_URL")
        .env("VITRINA_DATA", data.path())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(1), &b""[..]));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains(&format!("the demo password in {}", file.display())), "{said}");
    assert!(!data.path().join("postgres").exists());
}
