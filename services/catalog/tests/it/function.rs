//! The service's binary as Lambda functions.

use serde_json::{Value, json};
use testkit::{FakeAws, FakeResponse, Function};

use crate::Catalogue;

const PROGRAM: &str = env!("CARGO_BIN_EXE_catalog");

const GOLDEN: &str =
    include_str!("../../../../shared/src/contract/golden/events/ProductCreated.v1.json");

async fn start(process_role: &str, dynamodb: &str, sqs: &str) -> Function {
    let settings = [
        ("VITRINA_ROLE", process_role),
        ("VITRINA_LISTINGS_TABLE", "listings"),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("AWS_ENDPOINT_URL_SQS", sqs),
        ("VITRINA_QUEUE_URL", "http://127.0.0.1/1/catalog"),
        ("VITRINA_DEAD_LETTER_QUEUE_URL", "http://127.0.0.1/1/catalog-dead"),
    ];
    Function::start(PROGRAM, &settings).await
}

/// A queue that accepts every message.
async fn queue() -> FakeAws {
    FakeAws::start(|_, sent| {
        let entries = sent["Entries"].as_array().unwrap().iter();
        let taken = entries
            .map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"}));
        FakeResponse::Success(json!({"Successful": taken.collect::<Vec<_>>(), "Failed": []}))
    })
    .await
}

/// An invocation with messages of these bodies, as Lambda delivers them from SQS.
fn invocation(bodies: &[&str]) -> Value {
    let records = bodies.iter().enumerate().map(|(nth, body)| {
        json!({
            "messageId": format!("message {nth}"), "receiptHandle": format!("receipt {nth}"),
            "body": body, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000"},
        })
    });
    json!({"Records": records.collect::<Vec<_>>()})
}

fn wrapped(detail: &str) -> String {
    format!(
        r#"{{"version":"0","id":"a","detail-type":"ProductCreated","source":"vitrina.inventory",
            "account":"1","time":"2026-11-22T01:15:24Z","region":"x","resources":[],
            "detail":{detail}}}"#
    )
}

#[tokio::test]
async fn api_function_serves_what_the_projector_wrote() {
    let (catalogue, queue) = (Catalogue::new().await, queue().await);
    let mut projector = start("projector", &catalogue.dynamo.endpoint, &queue.endpoint).await;
    let event = wrapped(GOLDEN);
    let response = projector.invoke(invocation(&["not an event", &event])).await.unwrap();
    assert_eq!(response, json!({"batchItemFailures": []}));
    let sent = queue.calls();
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "SendMessageBatch"));
    assert_eq!(sent[0].1["QueueUrl"], "http://127.0.0.1/1/catalog-dead");
    assert_eq!(projector.metric("dead_letters"), [1.0]);
    assert_eq!(projector.metric("events_lag_ms").len(), 1);

    let mut api = start("api", &catalogue.dynamo.endpoint, &queue.endpoint).await;
    let id: Value = serde_json::from_str(GOLDEN).unwrap();
    let id = id["subject"].as_str().unwrap();
    let listed = api.request("GET", &format!("/v1/catalog/products/{id}"), &[], "").await;
    assert_eq!((listed.status, &listed.json()["id"]), (200, &json!(id)));
    let etag = listed.headers["etag"].as_str().unwrap();
    let path = format!("/v1/catalog/products/{id}?min_version=1");
    let same = api.request("GET", &path, &[("if-none-match", etag)], "").await;
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    let list = api.request("GET", "/v1/catalog/products?category=shoes&limit=1", &[], "").await;
    assert_eq!((list.status, list.json()["data"].as_array().unwrap().len()), (200, 1));
    // These exist in a process only.
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(api.request("GET", path, &[], "").await.status, 404);
    }
}

#[tokio::test]
async fn unencoded_urls_are_handled_as_in_a_process() {
    let catalogue = Catalogue::new().await;
    let mut api = start("api", &catalogue.dynamo.endpoint, "http://127.0.0.1:1").await;
    // Clients may send bytes without encoding them, and a gateway decodes the path.
    for (path, status) in [
        (r#"/v1/catalog/products?category="x""#, 200),
        ("/v1/catalog/products?category=<b>#{ü}`", 200),
        ("/v1/catalog/products?category=a b", 200),
        ("/v1/catalog/products?category=\u{7}", 400),
        (r#"/v1/catalog/products/a b"<ü>"#, 404),
    ] {
        let response = api.request("GET", path, &[], "").await;
        assert_eq!(response.status, status, "{path}: {}", response.body);
    }
}

#[tokio::test]
async fn messages_are_retried_while_the_store_is_down() {
    let queue = queue().await;
    let mut projector = start("projector", "http://127.0.0.1:1", &queue.endpoint).await;
    let event = wrapped(GOLDEN);
    let response = projector.invoke(invocation(&["not an event", &event])).await.unwrap();
    assert_eq!(response, json!({"batchItemFailures": [{"itemIdentifier": "message 1"}]}));
    let mut api = start("api", "http://127.0.0.1:1", &queue.endpoint).await;
    let refused = api.request("GET", "/v1/catalog/products", &[], "").await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &json!("1")));
}

#[tokio::test]
async fn projector_without_settings_names_all_that_are_missing() {
    let mut function = Function::start(PROGRAM, &[("VITRINA_ROLE", "projector")]).await;
    assert!(!function.wait_for_exit().await.success());
    let log = function.log();
    let needed = ["VITRINA_QUEUE_URL", "VITRINA_DEAD_LETTER_QUEUE_URL", "VITRINA_LISTINGS_TABLE"];
    for name in needed {
        assert!(log.contains(name), "{log}");
    }
    assert!(!log.contains("DATABASE_URL"), "a function has no queue table: {log}");
}

#[tokio::test]
async fn function_serves_the_documentation_and_its_problem_pages() {
    let (catalogue, queue) = (Catalogue::new().await, queue().await);
    let mut api = start("api", &catalogue.dynamo.endpoint, &queue.endpoint).await;
    for path in ["/docs", "/docs/problems", "/openapi.json"] {
        let page = api.request("GET", path, &[], "").await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
    }
    // The type of a problem of another service resolves, too.
    for code in ["not_yet_visible", "sku_taken", "rate_limited"] {
        let page = api.request("GET", &format!("/docs/problems/{code}"), &[], "").await;
        assert!(page.status == 200 && page.body.contains(code), "{code}: {}", page.body);
    }
}
