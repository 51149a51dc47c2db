//! Counts calls to DynamoDB and the capacity that they consume, and records the consistency of reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
pub struct Calls(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    usage: BTreeMap<String, DynamoUsage>,
    reads: BTreeSet<String>,
}

impl Calls {
    /// Returns the counts since the previous call, by operation.
    pub fn take(&self) -> BTreeMap<String, DynamoUsage> {
        std::mem::take(&mut self.lock().usage)
    }

    /// Returns the reads since the previous call, such as `GetItem, strong` or
    /// `Query of an index, eventual`.
    pub fn take_reads(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.lock().reads)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request, unless it is a write.
    pub(super) fn record_read(&self, operation: &str, sent: &Value) {
        // What is neither a write nor known here is recorded as well, so that no read is missed.
        let consistencies: Vec<&str> = match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" => return,
            "BatchGetItem" => {
                let tables = sent["RequestItems"].as_object().into_iter().flatten();
                tables.map(|(_, sent)| consistency(sent)).collect()
            }
            _ => vec![consistency(sent)],
        };
        let index = if sent["IndexName"].is_string() { " of an index" } else { "" };
        let reads = consistencies.iter().map(|how| format!("{operation}{index}, {how}"));
        self.lock().reads.extend(reads);
    }

    #[expect(
        clippy::float_arithmetic,
        reason = "units are multiples of one half, which a double adds exactly"
    )]
    fn add(&self, operation: &str, units: f64) {
        let mut counted = self.lock();
        let usage = counted.usage.entry(operation.to_owned()).or_default();
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
        let operation = interceptor::operation(&request);
        self.calls.record_read(operation, &sent);
        let (status, body) =
            interceptor::forward(&self.http, &request, serde_json::to_vec(&sent).unwrap()).await?;
        let received: Value = serde_json::from_slice(&body).unwrap();
        self.calls.add(operation, units(&received["ConsumedCapacity"]));
        interceptor::response(status, body)
    }
}

/// The consistency that a read asks for.
pub(super) fn consistency(sent: &Value) -> &'static str {
    if sent["ConsistentRead"] == Value::Bool(true) { "strong" } else { "eventual" }
}

/// A batch reports its capacity for each table.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}
