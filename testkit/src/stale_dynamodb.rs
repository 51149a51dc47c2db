//! A DynamoDB with maximally stale eventually consistent reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_wire as wire;

/// Makes the eventually consistent reads of `client` stale: each returns the first item that
/// `client` put under the key, or nothing if it has put none.
pub fn stale_dynamodb(client: &Client) -> Client {
    wire::through(client, First { http: wire::http(), first: Arc::default() })
}

#[derive(Clone, Debug)]
struct First {
    http: reqwest::Client,
    /// The first item put under each id.
    first: Arc<Mutex<HashMap<String, Value>>>,
}

impl wire::Wire for First {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let (status, answer) = wire::forward(&self.http, &request, body).await?;
        let mut said: Value = serde_json::from_slice(&answer).unwrap();
        match wire::operation(&request) {
            "PutItem" if status == 200 => self.remember(&asked["Item"]),
            "GetItem" if !is_consistent(&asked) => {
                if let Some(said) = said.as_object_mut() {
                    said.remove("Item");
                    said.extend(self.recall(&asked["Key"]).map(|item| ("Item".to_owned(), item)));
                }
            }
            "BatchGetItem" => {
                let tables = asked["RequestItems"].as_object().into_iter().flatten();
                for (table, asked) in tables.filter(|(_, asked)| !is_consistent(asked)) {
                    let keys = asked["Keys"].as_array().into_iter().flatten();
                    said["Responses"][table] = keys.filter_map(|key| self.recall(key)).collect();
                }
            }
            _ => {}
        }
        wire::response(status, serde_json::to_vec(&said).unwrap())
    }
}

impl First {
    fn remember(&self, item: &Value) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.entry(item["id"].to_string()).or_insert_with(|| item.clone());
    }

    fn recall(&self, key: &Value) -> Option<Value> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(&key["id"].to_string()).cloned()
    }
}

fn is_consistent(asked: &Value) -> bool {
    asked["ConsistentRead"] == Value::Bool(true)
}
