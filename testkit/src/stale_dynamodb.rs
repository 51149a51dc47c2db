//! A DynamoDB with maximally stale eventually consistent reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_interceptor::{self as interceptor, Interceptor};

/// Makes the eventually consistent reads of `client` stale: each returns the first item that
/// `client` put under the key, or nothing if it has put none.
pub fn stale_dynamodb(client: &Client) -> Client {
    interceptor::intercepted(
        client,
        StaleReads { http: interceptor::http(), first: Arc::default() },
    )
}

#[derive(Clone, Debug)]
struct StaleReads {
    http: reqwest::Client,
    /// The first item put under each id.
    first: Arc<Mutex<HashMap<String, Value>>>,
}

impl Interceptor for StaleReads {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let (status, response) = interceptor::forward(&self.http, &request, body).await?;
        let mut received: Value = serde_json::from_slice(&response).unwrap();
        match interceptor::operation(&request) {
            "PutItem" if status == 200 => self.keep_if_first(&sent["Item"]),
            "GetItem" if !is_consistent(&sent) => {
                if let Some(received) = received.as_object_mut() {
                    received.remove("Item");
                    received.extend(self.first(&sent["Key"]).map(|item| ("Item".to_owned(), item)));
                }
            }
            "BatchGetItem" => {
                let tables = sent["RequestItems"].as_object().into_iter().flatten();
                for (table, sent) in tables.filter(|(_, sent)| !is_consistent(sent)) {
                    let keys = sent["Keys"].as_array().into_iter().flatten();
                    received["Responses"][table] = keys.filter_map(|key| self.first(key)).collect();
                }
            }
            _ => {}
        }
        interceptor::response(status, serde_json::to_vec(&received).unwrap())
    }
}

impl StaleReads {
    fn keep_if_first(&self, item: &Value) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(item["id"].to_string()).or_insert_with(|| item.clone());
    }

    fn first(&self, key: &Value) -> Option<Value> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(&key["id"].to_string()).cloned()
    }
}

fn is_consistent(request: &Value) -> bool {
    request["ConsistentRead"] == Value::Bool(true)
}
