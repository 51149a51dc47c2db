//! The DynamoDB API of the local edition: in this process, on disk, reached through the official
//! SDK like the real one.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often expired tombstones are dropped.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

const FIRST_SWEEP: Duration = Duration::from_mins(1);

/// A store that is served, for as long as this value is.
#[derive(Debug)]
pub struct ListingsStore {
    pub endpoint: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), String>>,
    sweeping: JoinHandle<()>,
}

/// Why the store is not served.
#[derive(Debug, thiserror::Error)]
pub enum ListingsError {
    #[error("opening the listings in {path}: {cause}")]
    Open { path: String, cause: String },
    #[error("serving the listings")]
    Listen(#[source] std::io::Error),
}

impl ListingsStore {
    /// Opens the store in the file `path`, makes it if it is not there, and serves it on a free
    /// port of the loopback interface.
    pub async fn start(path: &Path) -> Result<Self, ListingsError> {
        let name = path.display().to_string();
        let open = |cause: String| ListingsError::Open { path: name.clone(), cause };
        // Drafts lie in it, too: nobody else's business.
        std::fs::File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| open(error.to_string()))?;
        let database = dynoxide::Database::new(&name).map_err(|error| open(error.to_string()))?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(loopback).await.map_err(ListingsError::Listen)?;
        let address = listener.local_addr().map_err(ListingsError::Listen)?;
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(sweep(database.clone(), stop.clone()));
        let serving = tokio::spawn(dynoxide::server::serve_with_shutdown(
            listener,
            database,
            stop.clone().cancelled_owned(),
        ));
        Ok(Self { endpoint: format!("http://{address}"), stop, serving, sweeping })
    }

    /// Stops; requests that are under way get to end.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.serving).await.is_err() {
            tracing::warn!("the listings store did not stop in time");
        }
        // It ends between two sweeps; one that is under way is left to end by itself.
        self.sweeping.abort();
    }
}

/// Drops expired tombstones, as DynamoDB does, until `stop`.
async fn sweep(database: dynoxide::Database, stop: CancellationToken) {
    // A start has better things to do at first than to read the whole table.
    let mut pause = FIRST_SWEEP;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = SWEEP_EVERY,
        }
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(dropped)) => tracing::info!(dropped, "expired tombstones were dropped"),
            Ok(Err(error)) => tracing::warn!(%error, "expired tombstones could not be dropped"),
            Err(error) => tracing::error!(%error, "dropping expired tombstones panicked"),
        }
    }
}
