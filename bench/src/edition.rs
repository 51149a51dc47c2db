//! A local edition under measurement, and direct access to its stores.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use vitrina::client::Client;
use vitrina::client::demo_user::DemoUser;
use vitrina::edition::data_folder::DataFolder;

use crate::server::{self, Server};
use crate::setup::Setup;

/// All parts.
pub(crate) const ALL: &str = "all";

/// The API for sellers without background work.
pub(crate) const WRITE_API: &str = "inventory,identity";

/// The API for buyers without background work.
pub(crate) const READ_API: &str = "catalog,identity";

/// A local edition that runs as a child process.
#[derive(Debug)]
pub(crate) struct Edition {
    // Declared first: it must end before its folder is removed.
    pub(crate) server: Server,
    pub(crate) api: SocketAddr,
    pub(crate) dynamodb: SocketAddr,
    pub(crate) dynamodb_url: String,
    /// The URL of its database. libpq programs accept it, too.
    pub(crate) database: String,
    pub(crate) pool: PgPool,
    pub(crate) folder: DataFolder,
    /// Set if the folder belongs to this value, which removes it.
    _temporary: Option<TempDir>,
}

impl Edition {
    /// Starts an empty edition. Dropping the value removes its folder.
    pub(crate) async fn fresh(setup: &Setup, parts: &str) -> anyhow::Result<Self> {
        let folder = setup.folder()?;
        let path = folder.path().to_owned();
        Self::start(&path, parts, Some(folder)).await
    }

    /// Starts an edition on an existing folder, which it keeps.
    pub(crate) async fn at(path: &Path, parts: &str) -> anyhow::Result<Self> {
        Self::start(path, parts, None).await
    }

    async fn start(path: &Path, parts: &str, temporary: Option<TempDir>) -> anyhow::Result<Self> {
        let data = path.to_str().context("the folder name is not UTF-8")?;
        let arguments =
            [server::EDITION, "--data", data, "--listen", "127.0.0.1:0", "--roles", parts];
        let server = Server::start(&arguments, &path.join("stderr.log")).await?;
        let folder = DataFolder::at(path)?;
        let dynamodb_url = folder.find_running()?.dynamodb;
        let database = local_postgres::find_running(&folder.postgres(), "vitrina")?
            .context("its PostgreSQL is not running")?;
        let pool = PgPoolOptions::new().max_connections(4).connect(&database).await?;
        Ok(Self {
            api: server.address,
            dynamodb: server::address_of(&dynamodb_url)?,
            server,
            dynamodb_url,
            database,
            pool,
            folder,
            _temporary: temporary,
        })
    }

    /// Logs a demo user in and returns the token, which is valid for 15 minutes.
    pub(crate) async fn token(&self, user: DemoUser) -> anyhow::Result<String> {
        let client = self.client(user).await?;
        let token = client.token().await?.context("the log-in returned no token")?;
        Ok(token.expose().clone())
    }

    /// A client that is logged in as a demo user.
    pub(crate) async fn client(&self, user: DemoUser) -> anyhow::Result<Client> {
        let client = Client::new(&self.server.url)?;
        Ok(client.log_in(user.email(), &self.folder.demo_password()?).await?)
    }

    /// Flushes PostgreSQL's dirty pages, so that neither side of a round pays for the other.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::query("checkpoint").execute(&self.pool).await?;
        Ok(())
    }

    /// Discards pending events and messages, so that the next round starts without a backlog.
    pub(crate) async fn discard_backlog(&self) -> anyhow::Result<()> {
        sqlx::query("truncate inventory.outbox").execute(&self.pool).await?;
        sqlx::query("truncate bus.messages").execute(&self.pool).await?;
        Ok(())
    }

    /// The folder of its PostgreSQL.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.folder.postgres()
    }
}
