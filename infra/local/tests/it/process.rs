//! The real process, started as anybody would start it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a start may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running edition.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
    password: String,
}

pub(crate) fn vitrina(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrina"));
    command.env_remove("DATABASE_URL").env("VITRINA_DATA", data).kill_on_drop(true);
    command
}

impl Process {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// With these settings.
    pub(crate) async fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
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
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.expect("it does not start").unwrap();
        let Some(first) = first else {
            panic!("it ended: {}", std::fs::read_to_string(data.join("stderr.log")).unwrap())
        };
        let url = first.strip_prefix("ready ").expect("it says where it is").to_owned();
        // What it says afterwards must not stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let password = std::fs::read_to_string(data.join("demo-password")).unwrap();
        Self { child, url, password }
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
        let login = json!({
            "email": format!("{role}@demo.vitrina.example"), "password": self.password
        });
        let answer = http
            .post(format!("{}/v1/auth/login", self.url))
            .json(&login)
            .send()
            .await
            .unwrap()
            .json::<serde_json::Value>()
            .await
            .unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}
