//! The database of the local edition: the one that `DATABASE_URL` names, or a private cluster.

use std::path::PathBuf;
use std::time::Duration;

use local_postgres::{Binaries, Cluster, Error, Progress, Search, StartOptions};
use shared::config::Secret;
use shared::telemetry::causes;
use sqlx::migrate::MigrateDatabase as _;
use tokio_util::sync::CancellationToken;

use super::data_folder::DataFolder;

/// The name of the database in a private cluster.
pub(crate) const NAME: &str = "vitrina";

/// The source of the database.
#[derive(Clone, Debug)]
pub enum Source {
    Url(Secret<String>),
    /// A private cluster, with PostgreSQL programs from these places.
    Private(Search),
}

impl Source {
    pub fn private(explicit: Option<&str>, path: Option<&str>) -> Self {
        let explicit = explicit.map(PathBuf::from);
        Self::Private(Search { explicit, path: path.map(Into::into), ..Search::default() })
    }
}

/// A database that is available for as long as this value lives.
#[derive(Debug)]
pub struct Database {
    pub url: Secret<String>,
    /// A description for people.
    pub description: String,
    private: Option<Private>,
}

#[derive(Debug)]
struct Private {
    stop: CancellationToken,
    /// Returns the cluster on `stop`, if it is running then.
    watch: tokio::task::JoinHandle<Option<Cluster>>,
}

/// Why no database is available.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(transparent)]
    Cluster(#[from] Error),
    #[error("creating the database")]
    Create(#[source] sqlx::Error),
}

impl Database {
    pub async fn start(source: &Source, folder: &DataFolder) -> Result<Self, DatabaseError> {
        match source {
            Source::Url(url) => Ok(Self {
                url: url.clone(),
                description: "PostgreSQL at DATABASE_URL".to_owned(),
                private: None,
            }),
            Source::Private(search) => Self::start_private(search.clone(), folder).await,
        }
    }

    async fn start_private(search: Search, folder: &DataFolder) -> Result<Self, DatabaseError> {
        let directory = folder.postgres();
        let cluster = start_cluster(&search, directory.clone()).await?;
        let url = cluster.url(NAME);
        if !sqlx::Postgres::database_exists(&url).await.map_err(DatabaseError::Create)? {
            sqlx::Postgres::create_database(&url).await.map_err(DatabaseError::Create)?;
        }
        let description = format!(
            "PostgreSQL, private, process {}, in {}",
            cluster.pid(),
            cluster.data_directory().display()
        );
        let stop = CancellationToken::new();
        let watch = tokio::spawn(watch(cluster, search, directory, stop.clone()));
        let private = Some(Private { stop, watch });
        Ok(Self { url: Secret::new(url), description, private })
    }

    /// Whether only this process uses it.
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Stops a private cluster. Its users must have ended before.
    pub async fn stop(self) -> Result<(), DatabaseError> {
        let Some(private) = self.private else {
            return Ok(());
        };
        private.stop.cancel();
        // The watch ends at once, or after the restart in progress.
        match private.watch.await {
            Ok(Some(cluster)) => Ok(cluster.stop().await?),
            _ => Ok(()),
        }
    }
}

async fn start_cluster(search: &Search, directory: PathBuf) -> Result<Cluster, Error> {
    let binaries = Binaries::find_for(search, &directory)?;
    let mut options = StartOptions::new(directory, binaries);
    options.on_progress = Some(Box::new(report));
    Cluster::start(options).await
}

fn report(progress: Progress) {
    match progress {
        Progress::Creating => tracing::info!("creating a PostgreSQL cluster"),
        Progress::Adopting { pid } => tracing::info!(pid, "adopting a running PostgreSQL"),
        Progress::Waiting { waited, reason } => {
            tracing::info!(seconds = waited.as_secs(), reason, "waiting for PostgreSQL");
        }
        _ => {}
    }
}

/// Restarts the cluster whenever it dies by itself. The services return 503 until it is back, and recover
/// without a restart.
async fn watch(
    mut cluster: Cluster,
    search: Search,
    directory: PathBuf,
    stop: CancellationToken,
) -> Option<Cluster> {
    loop {
        let exit = tokio::select! {
            () = stop.cancelled() => return Some(cluster),
            exit = cluster.wait() => exit,
        };
        tracing::error!(log = exit.log, "PostgreSQL exited unexpectedly; restarting it");
        // It locks its folder, also against its successor.
        drop(cluster);
        cluster = loop {
            match start_cluster(&search, directory.clone()).await {
                Ok(cluster) => break cluster,
                Err(error) => {
                    tracing::error!(error = causes(&error), "PostgreSQL does not start");
                    tokio::select! {
                        () = stop.cancelled() => return None,
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
            }
        };
    }
}
