//! One DynamoDB API per test: the store of the local edition, in memory.

use aws_sdk_dynamodb::Client;
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use shared::dynamodb::connect_local;

/// A private store. Stopped when dropped.
pub struct TestDynamo {
    pub client: Client,
    pub endpoint: String,
    /// The store behind the API.
    pub store: Database,
    _stop: DropGuard,
}

impl std::fmt::Debug for TestDynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestDynamo").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Starts an empty store.
pub async fn dynamodb() -> TestDynamo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let store = Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, store.clone(), stopped));
    TestDynamo { client: connect_local(&endpoint), endpoint, store, _stop: stop.drop_guard() }
}
