//! What a program asks of DynamoDB, and what that would be charged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use super::dynamodb_wire as wire;

/// Calls of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Charged {
    pub calls: u64,
    /// Capacity units, as the store says: those of the table and of its indexes.
    pub units: f64,
}

/// Calls that are counted. Cheap to clone; clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, Charged>>>);

impl Calls {
    /// What was counted since the last time, by operation.
    pub fn take(&self) -> BTreeMap<String, Charged> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[expect(
        clippy::float_arithmetic,
        reason = "units come in halves, which a double adds exactly"
    )]
    fn add(&self, operation: &str, units: f64) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let charged = counted.entry(operation.to_owned()).or_default();
        charged.calls += 1;
        charged.units += units;
    }
}

/// `client` with everything counted on its way. Each request is made to ask what it consumed, whether
/// the program wants to know or not.
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

/// Batches say it for each table.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        consumed => consumed["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}
