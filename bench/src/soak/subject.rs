//! The edition under test.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;
use vitrina::client::Client;
use vitrina::client::demo_user::DemoUser;
use vitrina::edition::data_folder::DataFolder;

use crate::server::{self, Memory, Server};
use crate::setup::allow_traversal;

/// Maximum number of log lines to show.
const MAX_LOG_LINES: usize = 20;

/// A fresh edition. It keeps its folder and port across restarts.
#[derive(Debug)]
pub(crate) struct Subject {
    // Declared first: it must end before its folder is removed.
    server: Option<Server>,
    listen: String,
    starts: u32,
    folder: TempDir,
}

impl Subject {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("vitrina-soak-").tempdir()?;
        // PostgreSQL may run as another user, which must be able to enter the folder.
        allow_traversal(folder.path())?;
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut subject = Self { server: None, listen: free.to_string(), starts: 0, folder };
        subject.restart().await?;
        Ok(subject)
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        let data = self.folder.path().to_str().context("the folder name is not UTF-8")?;
        let arguments = [server::EDITION, "--data", data, "--listen", &self.listen];
        self.starts += 1;
        self.server = Some(Server::start(&arguments, &self.log(self.starts)).await?);
        Ok(())
    }

    /// Kills the process with SIGKILL and restarts it on the same folder.
    pub(crate) async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.kill()?;
        }
        self.restart().await
    }

    /// A client that is not logged in.
    pub(crate) fn reader(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&format!("http://{}", self.listen))?)
    }

    /// A client that stays logged in as a demo user.
    pub(crate) async fn client(&self, user: DemoUser) -> anyhow::Result<Client> {
        let password = DataFolder::at(self.folder.path())?.demo_password()?;
        Ok(self.reader()?.log_in(user.email(), &password).await?)
    }

    /// The memory of its process, without those of `PostgreSQL`.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        self.server.as_ref().context("the edition is not running")?.memory()
    }

    /// The first lines of its logs. The edition logs only warnings and errors.
    pub(crate) fn log_lines(&self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for start in 1..=self.starts {
            let log = std::fs::read_to_string(self.log(start)).context("reading a log")?;
            lines.extend(log.lines().map(ToOwned::to_owned));
        }
        let left_out = lines.len().saturating_sub(MAX_LOG_LINES);
        lines.truncate(MAX_LOG_LINES);
        if left_out > 0 {
            lines.push(format!("and {left_out} more lines in the logs"));
        }
        Ok(lines)
    }

    fn log(&self, start: u32) -> PathBuf {
        self.folder.path().join(format!("stderr-{start}.log"))
    }
}
