//! The real process, started as anybody would start it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::openapi::{send, try_send};

/// How long a start may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// Of everybody who signs up.
pub(crate) const PASSWORD: &str = "a long sentence";

/// A running edition.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    data: PathBuf,
    password: String,
}

/// The process of an edition's own PostgreSQL, while there is one.
pub(crate) fn postmaster(data: &Path) -> Option<u32> {
    let folder = data.join("postgres/data").canonicalize().ok()?;
    let file = std::fs::read_to_string(folder.join("postmaster.pid")).ok()?;
    let pid: u32 = file.lines().next()?.parse().ok()?;
    // The number of one that was killed may be another process's by now.
    let lives_in = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (lives_in == folder).then_some(pid)
}

pub(crate) fn vitrina(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrina"));
    command.env_remove("DATABASE_URL").env("VITRINA_DATA", data).kill_on_drop(true);
    command
}

/// An edition that has not said yet that it is ready.
pub(crate) struct Starting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    data: PathBuf,
}

impl Starting {
    /// Waits until it is ready; what it logged, where it ends instead.
    pub(crate) async fn ready(mut self) -> Result<Process, String> {
        let first = timeout(PATIENCE, self.lines.next_line()).await.expect("it does not start");
        let Some(first) = first.unwrap() else {
            return Err(std::fs::read_to_string(self.data.join("stderr.log")).unwrap());
        };
        let url = first.strip_prefix("ready ").expect("it says where it is").to_owned();
        // What it says afterwards must not stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = self.lines.next_line().await {} });
        let password = std::fs::read_to_string(self.data.join("demo-password")).unwrap();
        Ok(Process { child: self.child, url, data: self.data, password })
    }

    /// SIGKILL, however far it has come.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Process {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// With these settings.
    pub(crate) async fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        let ready = Self::begin(data, settings).ready().await;
        ready.unwrap_or_else(|log| panic!("it ended: {log}"))
    }

    /// Begins a start.
    pub(crate) fn begin(data: &Path, settings: &[(&str, &str)]) -> Starting {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(data.join("stderr.log"))
            .unwrap();
        let mut child = vitrina(data)
            .args(["up", "--listen", "127.0.0.1:0"])
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Starting { child, lines, data: data.to_owned() }
    }

    /// SIGKILL: no chance to do anything.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and it stops by itself.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it does not stop").unwrap();
        assert!(status.success(), "{status}");
    }

    /// A demo user's token, as anybody else would get it.
    pub(crate) async fn token(&self, http: &reqwest::Client, role: &str) -> String {
        self.log_in(http, &format!("{role}@demo.vitrina.example"), &self.password).await
    }

    /// What the demo buyer logs in with.
    pub(crate) fn buyer(&self) -> Value {
        json!({"email": "buyer@demo.vitrina.example", "password": self.password})
    }

    /// The token of somebody who signs up as a seller.
    pub(crate) async fn new_seller(&self, http: &reqwest::Client, email: &str) -> String {
        let seller = json!({
            "email": email, "password": PASSWORD, "name": "Ana Souza", "role": "seller"
        });
        let signup = http.post(format!("{}/v1/auth/signup", self.url)).json(&seller);
        assert_eq!(send(signup).await.status, 202);
        let activation = json!({"email": email, "code": self.mailed_code(email).await});
        let activate = http.post(format!("{}/v1/auth/activate", self.url)).json(&activation);
        assert_eq!(send(activate).await.status, 204);
        self.log_in(http, email, PASSWORD).await
    }

    /// The same, from an edition whose stores may be away; `None` where it gives none.
    pub(crate) async fn try_token(&self, http: &reqwest::Client, role: &str) -> Option<String> {
        let email = format!("{role}@demo.vitrina.example");
        let login = json!({"email": email, "password": self.password});
        let login = http.post(format!("{}/v1/auth/login", self.url)).json(&login);
        let answer = try_send(login).await.ok()?;
        answer.json["access_token"].as_str().map(ToOwned::to_owned)
    }

    async fn log_in(&self, http: &reqwest::Client, email: &str, password: &str) -> String {
        let login = json!({"email": email, "password": password});
        let answer = send(http.post(format!("{}/v1/auth/login", self.url)).json(&login)).await;
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// The code in the one mail to somebody, which is sent after the answer. It is forgotten then.
    pub(crate) async fn mailed_code(&self, email: &str) -> String {
        let to = format!("To: {email}");
        let begun = Instant::now();
        loop {
            for mail in std::fs::read_dir(self.data.join("mail")).unwrap() {
                let path = mail.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().find_map(|line| line.split_once(" code: "));
                if let Some((_, code)) = code.filter(|_| text.lines().any(|line| line == to)) {
                    std::fs::remove_file(path).unwrap();
                    return code.to_owned();
                }
            }
            assert!(begun.elapsed() < PATIENCE, "no mail to {email}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its PostgreSQL, for what no request can plant.
    pub(crate) async fn database(&self) -> PgConnection {
        let options = PgConnectOptions::new()
            .socket(self.data.join("postgres/run"))
            .username("vitrina")
            .database("vitrina");
        PgConnection::connect_with(&options).await.unwrap()
    }
}
