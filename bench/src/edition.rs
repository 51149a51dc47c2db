//! A local edition to measure, and everything that is asked of it directly.

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
use crate::world::World;

/// Everything.
pub(crate) const ALL: &str = "all";

/// What answers sellers, and nothing beside it.
pub(crate) const WRITE_API: &str = "inventory,identity";

/// What answers buyers, and nothing beside it.
pub(crate) const READ_API: &str = "catalog,identity";

/// A running edition in a process of its own.
#[derive(Debug)]
pub(crate) struct Edition {
    // Ends before its folder goes.
    pub(crate) server: Server,
    pub(crate) api: SocketAddr,
    pub(crate) dynamodb: SocketAddr,
    pub(crate) dynamodb_url: String,
    /// The address of its database, for every libpq program too.
    pub(crate) database: String,
    pub(crate) pool: PgPool,
    pub(crate) folder: DataFolder,
    /// Removed behind it, where nobody else keeps it.
    _temporary: Option<TempDir>,
}

impl Edition {
    /// A fresh one; its folder goes with it.
    pub(crate) async fn fresh(world: &World, roles: &str) -> anyhow::Result<Self> {
        let folder = world.folder()?;
        let path = folder.path().to_owned();
        Self::start(&path, roles, Some(folder)).await
    }

    /// One on the folder `path`, which is kept.
    pub(crate) async fn at(path: &Path, roles: &str) -> anyhow::Result<Self> {
        Self::start(path, roles, None).await
    }

    async fn start(path: &Path, roles: &str, temporary: Option<TempDir>) -> anyhow::Result<Self> {
        let data = path.to_str().context("the folder's name is no text")?;
        let words = [server::EDITION, "--data", data, "--listen", "127.0.0.1:0", "--roles", roles];
        let server = Server::start(&words, &path.join("stderr.log")).await?;
        let folder = DataFolder::at(path)?;
        let dynamodb_url = folder.find_running()?.dynamodb;
        let database = local_postgres::find_running(&folder.postgres(), "vitrina")?
            .context("its PostgreSQL does not run")?;
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

    /// A token of a demo user, who logs in like everybody: it is good for a quarter of an hour.
    pub(crate) async fn token(&self, user: DemoUser) -> anyhow::Result<String> {
        let client = self.client(user).await?;
        let token = client.token().await?.context("a log-in gave no token")?;
        Ok(token.expose().clone())
    }

    /// A client on behalf of a demo user.
    pub(crate) async fn client(&self, user: DemoUser) -> anyhow::Result<Client> {
        let client = Client::new(&self.server.url)?;
        Ok(client.log_in(user.email(), &self.folder.demo_password()?).await?)
    }

    /// Writes down what PostgreSQL still has in memory, so that neither side of a round pays for
    /// the other.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::query("checkpoint").execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets what waits for relay and projector: the next round begins with nothing to do.
    pub(crate) async fn forget_backlog(&self) -> anyhow::Result<()> {
        sqlx::query("truncate inventory.outbox").execute(&self.pool).await?;
        sqlx::query("truncate bus.messages").execute(&self.pool).await?;
        Ok(())
    }

    /// The folder of its PostgreSQL.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.folder.postgres()
    }
}
