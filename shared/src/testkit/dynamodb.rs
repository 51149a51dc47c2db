//! A DynamoDB API a test: the store of the local edition, in memory.

use aws_sdk_dynamodb::Client;
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dynamodb::connect_local;

/// A store of its own; it stops with this value.
#[derive(Debug)]
pub struct TestDynamo {
    pub client: Client,
    pub endpoint: String,
    _stop: DropGuard,
}

/// An empty store.
pub async fn dynamodb() -> TestDynamo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let store = Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, store, stopped));
    TestDynamo { client: connect_local(&endpoint), endpoint, _stop: stop.drop_guard() }
}
