//! Counts calls to DynamoDB and the capacity that they consume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_interceptor::{self as interceptor, Interceptor};

/// The calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DynamoUsage {
    pub calls: u64,
    /// Capacity units of the table and its indexes, as the store reports them.
    pub units: f64,
}

/// The counts of a client. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, DynamoUsage>>>);

impl Calls {
    /// Returns the counts since the previous call, by operation.
    pub fn take(&self) -> BTreeMap<String, DynamoUsage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(
        clippy::float_arithmetic,
        reason = "units are multiples of one half, which a double adds exactly"
    )]
    fn add(&self, operation: &str, units: f64) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = counted.entry(operation.to_owned()).or_default();
        usage.calls += 1;
        usage.units += units;
    }
}

/// Counts the calls of `client`. Every request asks for its consumed capacity, even if the program
/// did not.
pub fn counted_dynamodb(client: &Client, calls: &Calls) -> Client {
    interceptor::intercepted(client, Counted { http: interceptor::http(), calls: calls.clone() })
}

#[derive(Clone, Debug)]
struct Counted {
    http: reqwest::Client,
    calls: Calls,
}

impl Interceptor for Counted {
    async fn respond(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        let mut sent: Value = serde_json::from_slice(body).unwrap();
        sent["ReturnConsumedCapacity"] = "TOTAL".into();
        let (status, body) =
            interceptor::forward(&self.http, &request, serde_json::to_vec(&sent).unwrap()).await?;
        let received: Value = serde_json::from_slice(&body).unwrap();
        self.calls.add(interceptor::operation(&request), units(&received["ConsumedCapacity"]));
        interceptor::response(status, body)
    }
}

/// A batch reports its capacity for each table.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}
