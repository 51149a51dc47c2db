//! The service's program as Lambda functions.

use serde_json::{Value, json};
use testkit::{FakeAws, FakeResponse, Function};

use crate::test_bed::{OPERATOR, TABLE, TestBed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sync");

async fn start(bed: &TestBed, process_role: &str) -> Function {
    start_with(bed, process_role, &[]).await
}

async fn start_with(bed: &TestBed, process_role: &str, more: &[(&str, &str)]) -> Function {
    let auth = bed.tokens.settings().await;
    let auth = auth.iter().map(|(name, value)| (*name, value.as_str()));
    let mut settings: Vec<(&str, &str)> = auth.collect();
    settings.extend([
        ("VITRINA_ROLE", process_role),
        ("VITRINA_SYNC_SLICE", "1024"),
        ("VITRINA_LISTINGS_TABLE", TABLE),
        ("VITRINA_QUEUE_URL_CATALOG", "http://127.0.0.1/1/catalog"),
        ("VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG", "http://127.0.0.1/1/catalog-dead"),
        ("DATABASE_URL", bed.database.url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", bed.dynamo.endpoint.as_str()),
    ]);
    settings.extend(more);
    Function::start(PROGRAM, &settings).await
}

/// A token for the function, which uses the machine's clock and not the fixed one.
fn bearer(bed: &TestBed, role: &str) -> String {
    let claims = json!({"sub": OPERATOR, "roles": [role], "exp": 4_000_000_000_i64});
    format!("Bearer {}", bed.tokens.with_claims(claims))
}

#[tokio::test]
async fn invocation_repairs_drift_and_reports_it() {
    let (bed, ids) = TestBed::with_products(3).await;
    let delete = bed.client.delete_item().table_name(TABLE);
    delete.set_key(Some(TestBed::key(ids[1]))).send().await.unwrap();
    let mut reconcile = start(&bed, "reconcile").await;
    assert_eq!(reconcile.invoke(json!({"time": "now"})).await, Ok(Value::Null));
    assert_eq!(reconcile.metric("drift_found"), [1.0]);
    assert_eq!(reconcile.metric("drift_repaired"), [1.0]);
    let ages = reconcile.metric("buckets_oldest_checked_seconds");
    assert!(ages.len() == 1 && (0.0..3600.0).contains(&ages[0].as_f64().unwrap()), "{ages:?}");
    bed.arrive().await;
    assert!(bed.listing(ids[1]).await.is_some());
    // Each invocation reports the age; the difference is not found again.
    assert_eq!(reconcile.invoke(json!({})).await, Ok(Value::Null));
    assert_eq!(reconcile.metric("buckets_oldest_checked_seconds").len(), 2);
    assert_eq!(reconcile.metric("drift_found").len(), 1);
}

#[tokio::test]
async fn requested_run_is_done_by_the_next_invocation() {
    let (bed, _) = TestBed::with_products(2).await;
    let mut api = start(&bed, "api").await;
    let bearer = bearer(&bed, "operator");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let asked = api.request("POST", "/v1/admin/reconciliations", &headers, "{}").await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let mut reconcile = start(&bed, "reconcile").await;
    assert_eq!(reconcile.invoke(json!({})).await, Ok(Value::Null));
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/admin/reconciliations/{id}");
    let report = api.request("GET", &path, &headers, "").await;
    assert!(report.json()["finished_at"].is_string(), "{}", report.body);
    assert_eq!(report.json()["compared"], 2);
}

#[tokio::test]
async fn every_missing_or_invalid_setting_is_reported_at_start() {
    let (bed, _) = TestBed::with_products(1).await;
    let faults = async |process_role, more: &[(&str, &str)]| {
        let mut function = start_with(&bed, process_role, more).await;
        assert!(!function.wait_for_exit().await.success());
        function.log()
    };
    let more = [
        ("VITRINA_QUEUE_URL_CATALOG", "nonsense"),
        ("VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG", ""),
        ("VITRINA_QUEUE_URL_RETURNS", "http://127.0.0.1/1/returns"),
        ("VITRINA_DATABASE_CONNECTIONS", "0"),
    ];
    let log = faults("api", &more).await;
    for fault in [
        "VITRINA_QUEUE_URL_CATALOG is wrong: must be the URL of a queue",
        "VITRINA_DEAD_LETTER_QUEUE_URL_CATALOG is not set",
        "VITRINA_QUEUE_URL_RETURNS belongs to no queue; the queues are catalog",
        "VITRINA_DATABASE_CONNECTIONS is wrong: ",
    ] {
        assert!(log.contains(fault), "{fault}: {log}");
    }
    let more = [("VITRINA_LISTINGS_TABLE", "no name"), ("DATABASE_URL", "mysql://db.example/shop")];
    let log = faults("reconcile", &more).await;
    for fault in ["VITRINA_LISTINGS_TABLE is wrong: ", "DATABASE_URL is wrong: must begin with"] {
        assert!(log.contains(fault), "{fault}: {log}");
    }
}

/// A dead-letter queue with one message, until that is deleted.
async fn queue_with_one_dead_letter() -> FakeAws {
    queue_with_dead_letters(vec![("no event".to_owned(), "unreadable: not an event")]).await
}

/// A dead-letter queue with messages of these bodies and reasons, until one is deleted.
async fn queue_with_dead_letters(messages: Vec<(String, &'static str)>) -> FakeAws {
    let (mut given, mut deleted) = (0, false);
    FakeAws::start(move |operation, sent| {
        if operation == "ReceiveMessage" {
            assert_eq!(sent["QueueUrl"], "http://127.0.0.1/1/catalog-dead");
            given += 1;
            // Every other receive is empty, which ends a look at the queue.
            if deleted || given % 2 == 0 {
                return FakeResponse::Success(json!({}));
            }
            let message = |(nth, (body, reason)): (usize, &(String, &str))| json!({
                "MessageId": format!("m{nth}"), "ReceiptHandle": format!("r{nth}"), "Body": body,
                "MD5OfBody": "x",
                "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
                "MessageAttributes": {"reason": {"DataType": "String", "StringValue": reason}},
            });
            let messages: Vec<Value> = messages.iter().enumerate().map(message).collect();
            return FakeResponse::Success(json!({"Messages": messages}));
        }
        deleted |= operation == "DeleteMessageBatch";
        let entries = sent["Entries"].as_array().unwrap().iter();
        let done = entries
            .map(|entry| json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"}));
        FakeResponse::Success(json!({"Successful": done.collect::<Vec<_>>(), "Failed": []}))
    })
    .await
}

#[tokio::test]
async fn dead_letters_of_sqs_are_served_by_the_function() {
    let ((bed, _), aws) = (TestBed::with_products(1).await, queue_with_one_dead_letter().await);
    let more = [("AWS_ENDPOINT_URL", aws.endpoint.as_str())];
    let mut function = start_with(&bed, "api", &more).await;
    let bearer = bearer(&bed, "operator");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let seller = self::bearer(&bed, "seller");
    let path = "/v1/admin/dead-letters";
    let refused = function.request("GET", path, &[("authorization", &seller)], "").await;
    assert_eq!(refused.status, 403);

    let listed = function.request("GET", path, &headers, "").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    let letter = listed.json()["data"][0].clone();
    assert_eq!(
        (&letter["reason"], &letter["queue"]),
        (&json!("unreadable: not an event"), &json!("catalog"))
    );
    let shown = function.request("GET", &format!("{path}/{}", letter["id"]), &headers, "").await;
    assert_eq!(shown.json()["body"], "no event");

    // An unset variable in a script sends an empty string, which would match every dead letter.
    for nothing in [json!({"reason": ""}), json!({"type": ""}), json!({})] {
        for action in ["redrive", "discard"] {
            let path = format!("{path}/{action}");
            let refused = function.request("POST", &path, &headers, &nothing.to_string()).await;
            assert_eq!(refused.status, 422, "{}", refused.body);
        }
    }
    let body = json!({"ids": [letter["id"]]}).to_string();
    let redriven = function.request("POST", &format!("{path}/redrive"), &headers, &body).await;
    assert_eq!(redriven.json(), json!({"matched": 1, "settled": 1, "dry_run": false}));
    let sent: Vec<String> = aws.calls().into_iter().map(|(operation, _)| operation).collect();
    let order: Vec<&str> = sent
        .iter()
        .map(String::as_str)
        .filter(|name| ["SendMessageBatch", "DeleteMessageBatch"].contains(name))
        .collect();
    assert_eq!(order, ["SendMessageBatch", "DeleteMessageBatch"]);
    let audit: (String, i64) =
        sqlx::query_as("select action, dead_letter_id from bus.dead_letter_audit")
            .fetch_one(&bed.database.pool)
            .await
            .unwrap();
    assert_eq!(audit, ("redrive".to_owned(), letter["id"].as_i64().unwrap()));
}

#[tokio::test]
async fn trace_of_a_change_is_served_by_the_function() {
    let ((bed, ids), aws) = (TestBed::with_products(1).await, queue_with_one_dead_letter().await);
    let more = [("AWS_ENDPOINT_URL", aws.endpoint.as_str())];
    let mut function = start_with(&bed, "api", &more).await;
    let path = format!("/v1/admin/trace/{}", ids[0]);
    let seller = bearer(&bed, "seller");
    let refused = function.request("GET", &path, &[("authorization", &seller)], "").await;
    assert_eq!(refused.status, 403);

    let operator = bearer(&bed, "operator");
    let headers = [("authorization", operator.as_str())];
    let traced = function.request("GET", &path, &headers, "").await;
    assert_eq!(traced.status, 200, "{}", traced.body);
    assert_eq!(traced.json()["changes"][0]["state"], "in the listing");
    assert!(aws.calls().is_empty(), "the dead letters are not received for a projected change");

    bed.set_stock(ids[0], 9).await;
    let traced = function.request("GET", &path, &headers, "").await;
    assert_eq!(traced.json()["changes"][1]["state"], "in the outbox", "{}", traced.body);
    bed.publish().await;
    let traced = function.request("GET", &path, &headers, "").await;
    let state = traced.json()["changes"][1]["state"].as_str().unwrap().to_owned();
    assert!(state.starts_with("published, and not in the listing yet"), "{state}");

    let unknown = format!("/v1/admin/trace/{OPERATOR}");
    assert_eq!(function.request("GET", &unknown, &headers, "").await.status, 404);
}

#[tokio::test]
async fn trace_shows_the_dead_letter_of_its_change_in_sqs() {
    let (bed, ids) = TestBed::with_products(3).await;
    for id in &ids {
        bed.set_stock(*id, 9).await;
    }
    bed.publish().await;
    let body = async |id| -> String {
        let take = sqlx::query_scalar("delete from bus.messages where subject = $1 returning body");
        take.bind::<shared::id::ProductId>(id).fetch_one(&bed.database.pool).await.unwrap()
    };
    // As EventBridge delivers it, and as a redrive sends it. The third event is lost.
    let wrapped = format!("{{\"detail-type\":\"StockChanged\",\"detail\":{}}}", body(ids[0]).await);
    let letters = vec![(wrapped, "no luck"), (body(ids[1]).await, "no sense")];
    body(ids[2]).await;
    let aws = queue_with_dead_letters(letters).await;
    let more = [("AWS_ENDPOINT_URL", aws.endpoint.as_str())];
    let mut function = start_with(&bed, "api", &more).await;
    let operator = bearer(&bed, "operator");
    let headers = [("authorization", operator.as_str())];
    let letters = function.request("GET", "/v1/admin/dead-letters", &headers, "").await.json();
    let dead = |reason: &str| {
        let letters = letters["data"].as_array().unwrap();
        let letter = letters.iter().find(|letter| letter["reason"] == reason).unwrap();
        format!("dead letter {}: {reason}", letter["id"])
    };
    let lost = "published, and not in the listing yet; if it stays so, `vitrina sync` repairs it";
    let expected =
        [(dead("no luck"), "buried"), (dead("no sense"), "buried"), (lost.to_owned(), "committed")];
    for (id, (state, hop)) in ids.iter().zip(expected) {
        let path = format!("/v1/admin/trace/{id}");
        let traced = function.request("GET", &path, &headers, "").await.json();
        assert_eq!(traced["changes"][0]["state"], "in the listing", "{traced}");
        let change = &traced["changes"][1];
        assert_eq!((&change["state"], &change["complete"]), (&json!(state), &json!(false)));
        let last = change["hops"].as_array().unwrap().last().unwrap();
        assert_eq!(last["name"], hop, "{traced}");
    }
}
