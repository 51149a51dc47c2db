//! The edition that is soaked.

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;
use vitrina::client::Client;
use vitrina::client::demo_user::DemoUser;
use vitrina::edition::data_folder::DataFolder;

use crate::server::{self, Memory, Server};
use crate::world::open_to_pass;

/// Lines of its log that are shown.
const COMPLAINTS: usize = 20;

/// A fresh edition, which stays where it is when it is killed and started again.
#[derive(Debug)]
pub(crate) struct Subject {
    // Ends before its folder goes.
    server: Option<Server>,
    listen: String,
    starts: u32,
    folder: TempDir,
}

impl Subject {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("vitrina-soak-").tempdir()?;
        // PostgreSQL may have to run as another user, who must get through.
        open_to_pass(folder.path())?;
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut subject = Self { server: None, listen: free.to_string(), starts: 0, folder };
        subject.start_again().await?;
        Ok(subject)
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        let data = self.folder.path().to_str().context("the folder's name is no text")?;
        let words = [server::EDITION, "--data", data, "--listen", &self.listen];
        self.starts += 1;
        self.server = Some(Server::start(&words, &self.log(self.starts)).await?);
        Ok(())
    }

    /// SIGKILL, and a start on what it left behind.
    pub(crate) async fn kill_and_start(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.server.take() {
            server.kill()?;
        }
        self.start_again().await
    }

    /// A client on behalf of nobody.
    pub(crate) fn reader(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&format!("http://{}", self.listen))?)
    }

    /// A client on behalf of a demo user, who stays logged in.
    pub(crate) async fn client(&self, user: DemoUser) -> anyhow::Result<Client> {
        let password = DataFolder::at(self.folder.path())?.demo_password()?;
        Ok(self.reader()?.log_in(user.email(), &password).await?)
    }

    /// What memory its process has: `PostgreSQL` has processes of its own.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        self.server.as_ref().context("it does not run")?.memory()
    }

    /// The first lines of its logs: it only logs what somebody should look at.
    pub(crate) fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for start in 1..=self.starts {
            let log = std::fs::read_to_string(self.log(start)).context("reading a log")?;
            lines.extend(log.lines().map(ToOwned::to_owned));
        }
        let left_out = lines.len().saturating_sub(COMPLAINTS);
        lines.truncate(COMPLAINTS);
        if left_out > 0 {
            lines.push(format!("and {left_out} lines more in its log"));
        }
        Ok(lines)
    }

    fn log(&self, start: u32) -> PathBuf {
        self.folder.path().join(format!("stderr-{start}.log"))
    }
}
