//! The real `vitrina` process, started as a user would start it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use testkit::{eventually, within};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::openapi::{send, try_send};

/// Password of all users that sign up in tests.
pub(crate) const PASSWORD: &str = "a long sentence";

/// A running edition.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    data: PathBuf,
    /// The URL of its database, if it is not its own.
    database: Option<String>,
    password: String,
}

/// Process id of an edition's PostgreSQL, if it runs.
pub(crate) fn postmaster(data: &Path) -> Option<u32> {
    let folder = data.join("postgres/data").canonicalize().ok()?;
    let file = std::fs::read_to_string(folder.join("postmaster.pid")).ok()?;
    let pid: u32 = file.lines().next()?.parse().ok()?;
    // After a kill, the id in the file may belong to an unrelated process.
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    (directory == folder).then_some(pid)
}

pub(crate) fn vitrina(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrina"));
    command.env_remove("DATABASE_URL").env("VITRINA_DATA", data).kill_on_drop(true);
    command
}

/// An edition that has not printed its `ready` line yet.
pub(crate) struct Starting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    data: PathBuf,
    database: Option<String>,
}

impl Starting {
    /// Waits until it is ready. Returns its log if it exits instead.
    pub(crate) async fn ready(mut self) -> Result<Process, String> {
        let first = within("the first line of a start", self.lines.next_line()).await;
        let Some(first) = first.unwrap() else {
            return Err(std::fs::read_to_string(self.data.join("stderr.log")).unwrap());
        };
        let url =
            first.strip_prefix("ready ").expect("the first line is not the ready line").to_owned();
        // Keep reading, so that a full pipe never blocks the process.
        tokio::spawn(async move { while let Ok(Some(_)) = self.lines.next_line().await {} });
        let password = std::fs::read_to_string(self.data.join("demo-password")).unwrap();
        let (child, data, database) = (self.child, self.data, self.database);
        Ok(Process { child, url, data, database, password })
    }

    /// Sends SIGKILL during the start.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Process {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// Starts it with these settings and waits until it is ready.
    pub(crate) async fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        let ready = Self::begin(data, settings).ready().await;
        ready.unwrap_or_else(|log| panic!("the start failed: {log}"))
    }

    /// Begins a start without waiting for it.
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
        let database = settings.iter().find(|(name, _)| *name == "DATABASE_URL");
        let database = database.map(|(_, url)| (*url).to_owned());
        Starting { child, lines, data: data.to_owned(), database }
    }

    /// Sends SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends SIGTERM and waits for a clean exit.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
        let status = within("the exit of the process", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }

    /// A demo user's token, from a log-in.
    pub(crate) async fn token(&self, http: &reqwest::Client, role: &str) -> String {
        self.log_in(http, &format!("{role}@demo.vitrina.example"), &self.password).await
    }

    /// Log-in body of the demo buyer.
    pub(crate) fn buyer_login(&self) -> Value {
        json!({"email": "buyer@demo.vitrina.example", "password": self.password})
    }

    /// Signs up a new seller and returns its token.
    pub(crate) async fn new_seller(&self, http: &reqwest::Client, email: &str) -> String {
        self.new_user(http, email, "seller").await
    }

    /// Signs up a new user with this role and returns its token.
    pub(crate) async fn new_user(&self, http: &reqwest::Client, email: &str, role: &str) -> String {
        let user = json!({
            "email": email, "password": PASSWORD, "name": "Ana Souza", "role": role
        });
        let signup = http.post(format!("{}/v1/auth/signup", self.url)).json(&user);
        assert_eq!(send(signup).await.status, 202);
        let activation = json!({"email": email, "code": self.mailed_code(email).await});
        let activate = http.post(format!("{}/v1/auth/activate", self.url)).json(&activation);
        assert_eq!(send(activate).await.status, 204);
        self.log_in(http, email, PASSWORD).await
    }

    /// As [`Self::token`], but `None` if the log-in fails because a store is down.
    pub(crate) async fn try_token(&self, http: &reqwest::Client, role: &str) -> Option<String> {
        let email = format!("{role}@demo.vitrina.example");
        let login = json!({"email": email, "password": self.password});
        let login = http.post(format!("{}/v1/auth/login", self.url)).json(&login);
        let response = try_send(login).await.ok()?;
        response.json["access_token"].as_str().map(ToOwned::to_owned)
    }

    async fn log_in(&self, http: &reqwest::Client, email: &str, password: &str) -> String {
        let login = json!({"email": email, "password": password});
        let response = send(http.post(format!("{}/v1/auth/login", self.url)).json(&login)).await;
        response.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Waits for the mail to this address, deletes it and returns its code.
    pub(crate) async fn mailed_code(&self, email: &str) -> String {
        let to = format!("To: {email}");
        eventually(&format!("a mail to {email}"), async || {
            for mail in std::fs::read_dir(self.data.join("mail")).unwrap() {
                let path = mail.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.lines().find_map(|line| line.split_once(" code: "));
                if let Some((_, code)) = code.filter(|_| text.lines().any(|line| line == to)) {
                    std::fs::remove_file(path).unwrap();
                    return Some(code.to_owned());
                }
            }
            None
        })
        .await
    }

    /// A connection to its PostgreSQL, for states that no request can cause.
    pub(crate) async fn database(&self) -> PgConnection {
        if let Some(url) = &self.database {
            return PgConnection::connect(url).await.unwrap();
        }
        let options = PgConnectOptions::new()
            .socket(self.data.join("postgres/run"))
            .username("vitrina")
            .database("vitrina");
        PgConnection::connect_with(&options).await.unwrap()
    }
}
