//! The `vitrina` commands, run as separate processes against a running edition.

#![expect(clippy::unwrap_used, reason = "a test fails if its edition or command does not start")]

mod check_stage;
mod command_output;
mod dlq;
mod dlq_flags;
mod doctor;
mod exit_codes;
mod import;
mod load;
mod monitoring;
mod output_failures;
mod remote_edition;
mod seed;
mod status;
mod token;

use std::fs::Permissions;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use shared::config::Settings;
use shared::config::catalogue::SETTINGS;
use shared::http::rate_limit::RateLimitConfig;
use tempfile::TempDir;
use testkit::eventually;
use tokio::process::Command;
use vitrina::edition::database::Source;
use vitrina::edition::parts::Parts;
use vitrina::edition::{Edition, Options};

/// An edition with its own data folder and its own PostgreSQL.
struct TestEdition {
    running: Edition,
    data: TempDir,
}

/// Exit code and output of a command.
#[derive(Debug)]
struct CommandResult {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<std::process::Output> for CommandResult {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl CommandResult {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl TestEdition {
    async fn start() -> Self {
        Self::start_with(Parts::all()).await
    }

    async fn start_with(parts: Parts) -> Self {
        Self::start_limited(parts, None).await
    }

    /// Starts an edition that serves each client so many requests a second.
    async fn start_limited(parts: Parts, per_second: Option<NonZeroU32>) -> Self {
        // As root, PostgreSQL runs as another user, and that user must be able to enter the folder.
        let data =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o711)).tempdir().unwrap();
        let settings = Settings::from_env();
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            data: data.path().to_owned(),
            parts,
            database: Source::private(settings.text("VITRINA_POSTGRES_BIN"), settings.text("PATH")),
            auth: None,
            // Not the default, so that a reader that ignores it finds nothing.
            currency: "EUR".parse().unwrap(),
            connections: 8,
            rate_limit: RateLimitConfig { per_second, trusted_proxies: 0, expensive_paths: &[] },
        };
        let running = Box::pin(Edition::start(options)).await.unwrap();
        Self { running, data }
    }

    async fn stop(self) -> TempDir {
        self.running.stop().await;
        self.data
    }

    /// Runs `vitrina` on the data folder of this edition.
    async fn run(&self, arguments: &[&str]) -> CommandResult {
        run(self.data.path(), arguments).await
    }

    /// Waits until the public catalogue has exactly `count` products and returns them.
    async fn catalogue(&self, count: usize) -> Vec<Value> {
        let found = eventually(&format!("{count} products in the catalogue"), async || {
            Some(self.whole_catalogue().await).filter(|found| found.len() >= count)
        })
        .await;
        assert_eq!(found.len(), count);
        found
    }

    async fn whole_catalogue(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let url = format!("{}/v1/catalog/products?limit=100{cursor}", self.running.url);
            let response = reqwest::get(url).await.unwrap().error_for_status().unwrap();
            let page: Value = response.json().await.unwrap();
            found.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["page"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }
}

/// Runs `vitrina` on a data folder.
async fn run(data: &Path, arguments: &[&str]) -> CommandResult {
    CommandResult::from(vitrina(data, arguments).output().await.unwrap())
}

/// `vitrina` on a data folder. Of this process's environment it inherits only the settings that
/// locate PostgreSQL. Every other setting is empty, which counts as absent. Its proxy does not exist: no
/// request, and no token, may go there.
fn vitrina(data: &Path, arguments: &[&str]) -> Command {
    let settings = Settings::from_env();
    let kept = ["PATH", "VITRINA_POSTGRES_BIN"];
    let kept = kept.map(|name| settings.text(name).map(|value| (name, value)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrina"));
    command
        .args(arguments)
        .env_clear()
        .envs(SETTINGS.iter().map(|setting| (setting.name, "")))
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
        .envs(kept.into_iter().flatten())
        .env("VITRINA_DATA", data)
        .kill_on_drop(true);
    command
}
