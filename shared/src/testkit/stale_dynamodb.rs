//! A DynamoDB whose eventually consistent reads of items are as far behind as they can be.

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Map, Value};

use super::dynamodb_wire as wire;

/// `client`, to which a read that need not be consistent says that nothing was ever written.
pub fn stale_dynamodb(client: &Client) -> Client {
    wire::through(client, Connector { http: wire::http() })
}

#[derive(Clone, Debug)]
struct Connector {
    http: reqwest::Client,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move { this.answer(request).await })
    }
}

impl Connector {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let (status, answer) = wire::forward(&self.http, &request, body).await?;
        let mut said: Value = serde_json::from_slice(&answer).unwrap();
        match wire::operation(&request) {
            "GetItem" if !is_consistent(&asked) => {
                said.as_object_mut().and_then(|said| said.remove("Item"));
            }
            "BatchGetItem" => {
                let tables = asked["RequestItems"].as_object().into_iter().flatten();
                for (table, _) in tables.filter(|(_, asked)| !is_consistent(asked)) {
                    let found = said["Responses"].as_object_mut();
                    let found = found.and_then(|found: &mut Map<_, _>| found.get_mut(table));
                    if let Some(found) = found {
                        *found = Value::Array(Vec::new());
                    }
                }
            }
            _ => {}
        }
        wire::response(status, serde_json::to_vec(&said).unwrap())
    }
}

fn is_consistent(asked: &Value) -> bool {
    asked["ConsistentRead"] == Value::Bool(true)
}
