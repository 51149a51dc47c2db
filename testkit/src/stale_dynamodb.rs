//! A DynamoDB with maximally stale eventually consistent reads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};

use super::counted_dynamodb::{Calls, consistency};
use super::dynamodb_interceptor::{self as interceptor, Interceptor};

/// Makes the eventually consistent reads of `client` stale: `replica`, a store with the same tables,
/// answers them. It has the first item that this client put under each key and never learns of a
/// later write, so that reads by key, queries and scans show the first state of everything. Strongly
/// consistent reads see every write. Records all reads in `calls`.
pub fn stale_dynamodb(client: &Client, replica: &str, calls: &Calls) -> Client {
    let double = StaleReads {
        http: interceptor::http(),
        replica: replica.to_owned(),
        calls: calls.clone(),
        written: Arc::default(),
    };
    interceptor::intercepted(client, double)
}

#[derive(Clone, Debug)]
struct StaleReads {
    http: reqwest::Client,
    /// The endpoint of the replica.
    replica: String,
    calls: Calls,
    /// The table and id of each item that the replica has.
    written: Arc<Mutex<HashSet<String>>>,
}

impl Interceptor for StaleReads {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let operation = interceptor::operation(&request);
        self.calls.record_read(operation, &sent);
        if is_stale(operation, &sent) {
            let replica = self.replica.as_str();
            let (status, body) =
                interceptor::forward_to(replica, &self.http, &request, body).await?;
            return interceptor::response(status, body);
        }
        let (status, response) = interceptor::forward(&self.http, &request, body).await?;
        if status == 200
            && let Some(first) = self.first_write(operation, sent)
        {
            let body = serde_json::to_vec(&first).unwrap();
            let replica = self.replica.as_str();
            let (status, body) =
                interceptor::forward_to(replica, &self.http, &request, body).await?;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        }
        interceptor::response(status, response)
    }
}

impl StaleReads {
    /// The write as the replica gets it, if it is the first one under its key.
    fn first_write(&self, operation: &str, sent: Value) -> Option<Value> {
        let table = &sent["TableName"];
        let (key, write) = match operation {
            // The condition was met in the table itself.
            "PutItem" => (
                format!("{table} {}", sent["Item"]["id"]),
                json!({"TableName": table, "Item": sent["Item"]}),
            ),
            "UpdateItem" => (format!("{table} {}", sent["Key"]["id"]), sent),
            _ => return None,
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(key).then_some(write)
    }
}

/// Whether the replica answers a read.
fn is_stale(operation: &str, sent: &Value) -> bool {
    let is_eventual = |sent: &Value| consistency(sent) == "eventual";
    match operation {
        "GetItem" | "Query" | "Scan" => is_eventual(sent),
        "BatchGetItem" => {
            let mut tables = sent["RequestItems"].as_object().into_iter().flatten();
            tables.all(|(_, sent)| is_eventual(sent))
        }
        _ => false,
    }
}
