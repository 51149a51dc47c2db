//! Batch reads of DynamoDB that it answers in part, and the meaning of its errors.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::dynamodb::{BatchError, Consistency, Item, batch_get, is_transient};
use testkit::scripted_dynamodb;
use tokio::time::Instant;

const TABLE: &str = "listings";

fn keys(numbers: impl IntoIterator<Item = u32>) -> Vec<Item> {
    let key = |number: u32| Item::from([("id".to_owned(), AttributeValue::N(number.to_string()))]);
    numbers.into_iter().map(key).collect()
}

/// The numbers of keys or items in a body.
fn numbers(items: &Value) -> Vec<u32> {
    let items = items.as_array().unwrap().iter();
    items.map(|item| item["id"]["N"].as_str().unwrap().parse().unwrap()).collect()
}

/// A call: when, and the request to the table.
type Asked = Arc<Mutex<Vec<(Instant, Value)>>>;

/// A store that returns the first `most` items of each request and leaves the other keys unprocessed.
fn throttling(most: usize) -> (Client, Asked) {
    let asked = Asked::default();
    let calls = Arc::clone(&asked);
    let client = scripted_dynamodb(move |sent| {
        let request = sent["RequestItems"][TABLE].clone();
        let keys = request["Keys"].as_array().unwrap();
        let (items, left) = keys.split_at(most.min(keys.len()));
        let mut response = json!({"Responses": {TABLE: items}});
        if !left.is_empty() {
            response["UnprocessedKeys"] = json!({TABLE: {"Keys": left}});
        }
        // Paused time: the tests pause it.
        calls.lock().unwrap().push((Instant::now(), request));
        Ok(response)
    });
    (client, asked)
}

/// The pauses between calls.
fn pauses(asked: &Asked) -> Vec<Duration> {
    asked.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

fn milliseconds(milliseconds: &[u64]) -> Vec<Duration> {
    milliseconds.iter().copied().map(Duration::from_millis).collect()
}

#[tokio::test(start_paused = true)]
async fn keys_left_unprocessed_are_read_again() {
    for (consistency, strong) in [(Consistency::Strong, true), (Consistency::Eventual, false)] {
        let (client, asked) = throttling(1);
        let batches = batch_get(&client, TABLE, &keys(1..=3), consistency, Some("id")).await;
        let items: Vec<Item> = batches.unwrap().into_iter().flat_map(|it| it.items).collect();
        assert_eq!(items, keys(1..=3));
        let calls: Vec<Value> = asked.lock().unwrap().iter().map(|(_, it)| it.clone()).collect();
        let wanted: Vec<Vec<u32>> = calls.iter().map(|it| numbers(&it["Keys"])).collect();
        assert_eq!(wanted, [vec![1, 2, 3], vec![2, 3], vec![3]]);
        for call in calls {
            assert_eq!(call["ConsistentRead"], strong);
            assert_eq!(call["ProjectionExpression"], "id");
        }
        assert_eq!(pauses(&asked), milliseconds(&[10, 20]));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_left_unprocessed_eight_times_make_an_incomplete_batch() {
    let (client, asked) = throttling(0);
    let read = batch_get(&client, TABLE, &keys(1..=3), Consistency::Strong, None).await;
    let error = read.unwrap_err();
    assert!(matches!(error, BatchError::Incomplete) && error.is_transient(), "{error:?}");
    let pauses = pauses(&asked);
    assert_eq!(pauses, milliseconds(&[10, 20, 40, 80, 160, 320, 640]));
    assert_eq!(pauses.iter().sum::<Duration>(), Duration::from_millis(1_270));
}

#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_keys_are_several_batches() {
    let (client, asked) = throttling(100);
    let batches = batch_get(&client, TABLE, &keys(0..201), Consistency::Strong, None).await;
    let items: Vec<Item> = batches.unwrap().into_iter().flat_map(|it| it.items).collect();
    assert_eq!(items, keys(0..201));
    let calls = asked.lock().unwrap();
    let counts: Vec<usize> = calls.iter().map(|(_, it)| numbers(&it["Keys"]).len()).collect();
    assert_eq!(counts, [100, 100, 1]);
    drop(calls);
    assert_eq!(pauses(&asked), milliseconds(&[0, 0]));
}

/// Error codes of DynamoDB, and whether the store is their cause.
const CODES: [(&str, bool); 13] = [
    ("ProvisionedThroughputExceededException", true),
    // What a table without provisioned capacity returns.
    ("ThrottlingException", true),
    ("RequestLimitExceeded", true),
    ("InternalServerError", true),
    ("ServiceUnavailable", true),
    ("TransactionConflictException", true),
    ("ResourceNotFoundException", true),
    ("AccessDeniedException", false),
    ("ValidationException", false),
    ("ConditionalCheckFailedException", false),
    ("ItemCollectionSizeLimitExceededException", false),
    ("UnrecognizedClientException", false),
    ("SerializationException", false),
];

#[tokio::test(start_paused = true)]
async fn each_error_code_of_dynamodb_is_transient_or_not() {
    for (code, transient) in CODES {
        let client = scripted_dynamodb(move |_| Err(code));
        let read = client.get_item().table_name(TABLE).set_key(keys([1]).pop()).send().await;
        assert_eq!(is_transient(&read.unwrap_err()), transient, "{code}");
        let batch = batch_get(&client, TABLE, &keys([1]), Consistency::Strong, None).await;
        assert_eq!(batch.unwrap_err().is_transient(), transient, "{code}");
    }
}
