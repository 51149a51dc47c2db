//! While PostgreSQL is out, each operation that needs it says so and when to try again, and the others
//! respond as ever.

use reqwest::RequestBuilder;
use serde_json::json;
use testkit::{PostgresFault, database, faulty_postgres};

use crate::openapi::{OPERATIONS, Operation, send};
use crate::requests::Requests;

/// Operations that respond without PostgreSQL. `/metrics` then has the gauges of before.
const RESPONDING: [&str; 7] = [
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
    "GET /healthz",
    "GET /metrics",
    "GET /v1/catalog/categories",
    "GET /v1/catalog/products",
    "GET /v1/catalog/products/{id}",
];

fn valid(requests: &Requests, operation: &Operation) -> RequestBuilder {
    let is_operators = operation.path.starts_with("/v1/admin");
    let token = if is_operators { &requests.operator } else { &requests.seller };
    requests.valid(operation).bearer_auth(token)
}

#[tokio::test]
async fn each_operation_says_that_its_store_is_out() {
    let database = database(&[]).await;
    let line = faulty_postgres(&database.url).await;
    let data = tempfile::tempdir().unwrap();
    let settings = [("DATABASE_URL", line.url.as_str())];
    let mut requests = Requests::start_with(data.path(), &settings).await;
    // A server that shuts down.
    line.faults.plan(|_| Some(PostgresFault::Refused("57P01")));
    let mut responding = Vec::new();
    for operation in OPERATIONS.iter() {
        let (name, response) = (operation.name(), send(valid(&requests, operation)).await);
        if response.status != 503 {
            assert_eq!(response.status, 200, "{name}: {response:?}");
            responding.push(name);
            continue;
        }
        if name == "GET /readyz" {
            let expected = json!({"ready": false, "postgres": false, "dynamodb": true});
            assert_eq!(response.json, expected);
            continue;
        }
        assert_eq!(response.json["code"], "unavailable", "{name}: {response:?}");
        assert_eq!(response.headers["retry-after"], "1", "{name}: {response:?}");
        for cause in ["57P01", "planted", "PostgreSQL", "inventory.", "identity.", "bus.", "sync."]
        {
            assert!(!response.text.contains(cause), "{name}: {}", response.text);
        }
    }
    assert_eq!(responding, RESPONDING);
    // Once it is back, nothing of that is left.
    line.faults.clear();
    for operation in OPERATIONS.iter() {
        requests.renew().await;
        let response = send(valid(&requests, operation)).await;
        let is_code = response.json["code"] == "invalid_code";
        assert!(response.status < 300 || is_code, "{}: {response:?}", operation.name());
    }
    requests.process.terminate().await;
}
