//! The truth of the local edition: the database that `DATABASE_URL` names, or a private cluster.

use std::path::PathBuf;
use std::time::Duration;

use local_postgres::{Binaries, Cluster, Error, Progress, Search, StartOptions};
use shared::config::Secret;
use shared::telemetry::causes;
use sqlx::migrate::MigrateDatabase as _;
use tokio_util::sync::CancellationToken;

use crate::data::DataFolder;

/// The name of the database in a private cluster.
pub(crate) const NAME: &str = "vitrina";

/// Where the database comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Url(Secret<String>),
    /// Programs are looked for here.
    Private(Search),
}

impl Source {
    pub fn private(explicit: Option<&str>, path: Option<&str>) -> Self {
        let explicit = explicit.map(PathBuf::from);
        Self::Private(Search { explicit, path: path.map(Into::into), ..Search::default() })
    }
}

/// A database that is there, for as long as this value is.
#[derive(Debug)]
pub struct Database {
    pub url: Secret<String>,
    /// What it is, for a person.
    pub description: String,
    private: Option<Private>,
}

#[derive(Debug)]
struct Private {
    stop: CancellationToken,
    /// Gives back the cluster that runs when it is told to stop, if one does.
    watch: tokio::task::JoinHandle<Option<Cluster>>,
}

/// Why there is no database.
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

    /// Whether nobody but this process uses it.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Stops a private cluster; everything that uses it must have ended.
    pub async fn stop(self) -> Result<(), DatabaseError> {
        let Some(private) = self.private else {
            return Ok(());
        };
        private.stop.cancel();
        // It ends at once, or after the restart that it is about.
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
        Progress::Making => tracing::info!("making a PostgreSQL cluster"),
        Progress::TakingOver { pid } => tracing::info!(pid, "taking over a running PostgreSQL"),
        Progress::Waiting { waited, reason } => {
            tracing::info!(seconds = waited.as_secs(), reason, "waiting for PostgreSQL");
        }
        _ => {}
    }
}

/// Starts the cluster again whenever it dies without having been told to: the services answer 503
/// meanwhile and go on by themselves.
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
        tracing::error!(log = exit.log, "PostgreSQL ended by itself and is started again");
        // It keeps everybody off its folder, the one that follows it, too.
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
