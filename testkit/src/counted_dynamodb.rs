//! Counts calls to DynamoDB and the capacity that they consume.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_wire as wire;

/// The calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charged {
    pub calls: u64,
    /// Capacity units of the table and its indexes, as the store reports them.
    pub units: f64,
}

/// The counts of a client. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, Charged>>>);

impl Calls {
    /// Returns the counts since the previous call, by operation.
    pub fn take(&self) -> BTreeMap<String, Charged> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(
        clippy::float_arithmetic,
        reason = "units are multiples of one half, which a double adds exactly"
    )]
    fn add(&self, operation: &str, units: f64) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let charged = counted.entry(operation.to_owned()).or_default();
        charged.calls += 1;
        charged.units += units;
    }
}

/// Counts the calls of `client`. Every request asks for its consumed capacity, even if the program
/// did not.
pub fn counted_dynamodb(client: &Client, calls: &Calls) -> Client {
    wire::through(client, Counted { http: wire::http(), calls: calls.clone() })
}

#[derive(Clone, Debug)]
struct Counted {
    http: reqwest::Client,
    calls: Calls,
}

impl wire::Wire for Counted {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let body = request.body().bytes().unwrap_or_default();
        let mut asked: Value = serde_json::from_slice(body).unwrap();
        asked["ReturnConsumedCapacity"] = "TOTAL".into();
        let (status, answer) =
            wire::forward(&self.http, &request, serde_json::to_vec(&asked).unwrap()).await?;
        let said: Value = serde_json::from_slice(&answer).unwrap();
        self.calls.add(wire::operation(&request), units(&said["ConsumedCapacity"]));
        wire::response(status, answer)
    }
}

/// A batch reports its capacity for each table.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}
