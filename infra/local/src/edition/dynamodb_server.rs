//! The DynamoDB API of the local edition: in this process, on disk. The services reach it through
//! the official SDK, as they reach DynamoDB.

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often to drop expired tombstones.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

const FIRST_SWEEP: Duration = Duration::from_mins(1);

/// A store that is served for as long as this value lives.
#[derive(Debug)]
pub struct DynamoDbServer {
    pub endpoint: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), String>>,
    sweeping: JoinHandle<()>,
}

/// Why the store cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbServerError {
    #[error("opening the listings in {path}: {cause}")]
    Open { path: String, cause: String },
    #[error("serving the listings")]
    Listen(#[source] std::io::Error),
}

impl DynamoDbServer {
    /// Opens the store in the file `path`, which is created if needed, and serves it on a free port
    /// of the loopback interface.
    pub async fn start(path: &Path) -> Result<Self, DynamoDbServerError> {
        let name = path.display().to_string();
        let open = |cause: String| DynamoDbServerError::Open { path: name.clone(), cause };
        // It holds drafts, which other users of the machine must not read.
        std::fs::File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| open(error.to_string()))?;
        let database = dynoxide::Database::new(&name).map_err(|error| open(error.to_string()))?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(loopback).await.map_err(DynamoDbServerError::Listen)?;
        let address = listener.local_addr().map_err(DynamoDbServerError::Listen)?;
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(sweep(database.clone(), stop.clone()));
        let serving = tokio::spawn(dynoxide::server::serve_with_shutdown(
            listener,
            database,
            stop.clone().cancelled_owned(),
        ));
        Ok(Self { endpoint: format!("http://{address}"), stop, serving, sweeping })
    }

    /// Stops after draining the requests in flight.
    pub async fn stop(self) {
        self.stop.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.serving).await.is_err() {
            tracing::warn!("the listings store did not stop in time");
        }
        // Between two sweeps this stops it at once; a sweep in progress ends by itself.
        self.sweeping.abort();
    }
}

/// Drops expired tombstones, as DynamoDB does, until `stop`.
async fn sweep(database: dynoxide::Database, stop: CancellationToken) {
    // A sweep reads the whole table, so it waits until the start is over.
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

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// A request as the API takes it.
    fn request<T: DeserializeOwned>(request: Value) -> T {
        serde_json::from_value(request).unwrap()
    }

    fn put_expired(database: &dynoxide::Database) {
        let item = json!({"id": {"S": "gone"}, "expires_at": {"N": "1000000000"}});
        database.put_item(request(json!({"TableName": "listings", "Item": item}))).unwrap();
    }

    fn count(database: &dynoxide::Database) -> usize {
        let found = database.scan(request(json!({"TableName": "listings", "Select": "COUNT"})));
        found.unwrap().count
    }

    #[tokio::test(start_paused = true)]
    async fn expired_items_are_dropped_after_a_minute_and_then_every_hour() {
        let database = dynoxide::Database::memory().unwrap();
        let table = json!({
            "TableName": "listings",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        });
        database.create_table(request(table)).unwrap();
        let lifetime = json!({"AttributeName": "expires_at", "Enabled": true});
        let lifetime = json!({"TableName": "listings", "TimeToLiveSpecification": lifetime});
        database.update_time_to_live(request(lifetime)).unwrap();

        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(sweep(database.clone(), stop.clone()));
        for pause in [Duration::from_mins(1), Duration::from_hours(1), Duration::from_hours(1)] {
            put_expired(&database);
            tokio::time::sleep(pause.saturating_sub(Duration::from_millis(1))).await;
            assert_eq!(count(&database), 1, "1 ms before {pause:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
            // Real time: the limit ends a hang.
            let begun = std::time::Instant::now();
            while count(&database) > 0 {
                assert!(begun.elapsed() < Duration::from_mins(1), "not dropped after {pause:?}");
                tokio::task::yield_now().await;
            }
        }
        stop.cancel();
        sweeping.await.unwrap();
    }
}
