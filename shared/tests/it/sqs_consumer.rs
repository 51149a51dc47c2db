//! The consumer of SQS, on every response that SQS may return.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use shared::bus::aws::{SqsConfig, SqsQueue, SqsTimings};
use shared::clock::Clock;
use shared::contract::inventory::Event;
use shared::host::intake::{Delivery, Failure, Handler};
use shared::host::sqs_intake::{self, Invocation};
use testkit::{FakeAws, FakeResponse, Gate, NO_TIMEOUT, eventually, skip, within};
use tokio_util::sync::CancellationToken;

use crate::handlers::{GOLDEN, Held};

pub(crate) const QUEUE: &str = "http://127.0.0.1/1/catalog";
pub(crate) const DEAD: &str = "http://127.0.0.1/1/catalog-dead";

fn queue(aws: &FakeAws) -> SqsQueue {
    let config = SqsConfig { queue: QUEUE.to_owned(), dead_letters: DEAD.to_owned() };
    SqsQueue::new(&aws.environment(), Clock::System, &config).with_timings(timings())
}

/// The delays of production, in which no call times out.
pub(crate) fn timings() -> SqsTimings {
    SqsTimings { call: NO_TIMEOUT, ..SqsTimings::default() }
}

/// The response to a batch: every entry succeeds unless `refuse` selects it.
pub(crate) fn response(sent: &Value, refuse: impl Fn(&Value) -> bool) -> FakeResponse {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in sent["Entries"].as_array().unwrap() {
        if refuse(entry) {
            failed.push(json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}));
        } else {
            successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "x"}));
        }
    }
    FakeResponse::Success(json!({"Successful": successful, "Failed": failed}))
}

/// An invocation with messages of these bodies, each received this many times.
pub(crate) fn invocation(bodies: &[&str], attempts: u32) -> Invocation {
    let records = bodies.iter().enumerate().map(|(nth, body)| {
        json!({
            "messageId": format!("message {nth}"), "receiptHandle": format!("receipt {nth}"),
            "body": body, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
            "messageAttributes": {}, "md5OfBody": "", "eventSourceARN": "arn:aws:sqs:x:1:catalog",
            "attributes": {
                "ApproximateReceiveCount": attempts.to_string(),
                "SentTimestamp": "1800000000000",
            },
        })
    });
    serde_json::from_value(json!({"Records": records.collect::<Vec<_>>()})).unwrap()
}

#[tokio::test]
async fn call_may_take_its_timeout_beyond_the_long_poll() {
    let gate = Arc::new(Gate::default());
    let response = FakeResponse::After(Arc::clone(&gate), json!({}));
    let aws = FakeAws::start(move |_, _| response.clone()).await;
    let minute = Duration::from_mins(1);
    let timings = SqsTimings { long_poll: minute, call: minute, ..timings() };
    let queue = queue(&aws).with_timings(timings);
    let receiving = tokio::spawn(async move { queue.receive().await });
    gate.entered().await;
    skip(Duration::from_secs(80)).await;
    gate.open();
    let received = within("the end of the poll", receiving).await.unwrap().unwrap();
    assert!(received.is_empty());
    assert_eq!(aws.calls().len(), 1, "the poll was cut off and asked again");
}

struct Always(fn() -> Result<(), Failure>);

impl Handler for Always {
    type Event = Event;

    const SPAN: &'static str = "always";

    async fn handle(&self, deliveries: &[Delivery<Event>]) -> Vec<Result<(), Failure>> {
        deliveries.iter().map(|_| self.0()).collect()
    }
}

const ACCEPTING: Always = Always(|| Ok(()));
const FAILING: Always = Always(|| Err(Failure::Failed("it cannot be".to_owned())));
const UNAVAILABLE: Always = Always(|| Err(Failure::Unavailable("no response".to_owned())));

/// The response to an invocation, as Lambda receives it.
pub(crate) async fn invoke(aws: &FakeAws, handler: &impl Handler, invocation: Invocation) -> Value {
    let response =
        sqs_intake::handle_invocation(&queue(aws), &Clock::System, handler, invocation).await;
    serde_json::to_value(response).unwrap()
}

pub(crate) fn failures(ids: &[&str]) -> Value {
    let failures = ids.iter().map(|id| json!({"itemIdentifier": id}));
    json!({"batchItemFailures": failures.collect::<Vec<_>>()})
}

/// The calls of an operation.
pub(crate) fn calls(aws: &FakeAws, operation: &str) -> Vec<Value> {
    let calls = aws.calls().into_iter().filter(|(called, _)| called == operation);
    calls.map(|(_, sent)| sent).collect()
}

#[tokio::test]
async fn failed_messages_of_an_invocation_are_redelivered_later() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
    let wrapped = format!(r#"{{"detail-type": "ProductUpdated", "detail": {GOLDEN}}}"#);
    let bodies = [GOLDEN, wrapped.as_str()];
    assert_eq!(invoke(&aws, &ACCEPTING, invocation(&bodies, 1)).await, failures(&[]));
    assert_eq!(aws.calls(), [], "Lambda deletes them itself");
    let again = failures(&["message 0", "message 1"]);
    assert_eq!(invoke(&aws, &FAILING, invocation(&bodies, 3)).await, again);
    let pauses = calls(&aws, "ChangeMessageVisibilityBatch");
    assert_eq!((pauses.len(), &pauses[0]["QueueUrl"]), (1, &json!(QUEUE)));
    let first = json!({"Id": "0", "ReceiptHandle": "receipt 0", "VisibilityTimeout": 16});
    assert_eq!(pauses[0]["Entries"][0], first);
}

#[tokio::test]
async fn each_attempt_of_a_message_waits_four_times_longer() {
    // What ended the attempts, and the visibility timeouts after the first, second and so on.
    for (handler, waits) in [(FAILING, &[1, 4, 16, 64][..]), (UNAVAILABLE, &[1, 4, 16])] {
        for (attempts, seconds) in (1..).zip(waits) {
            let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
            let response = invoke(&aws, &handler, invocation(&[GOLDEN], attempts)).await;
            assert_eq!(response, failures(&["message 0"]));
            let made = aws.calls();
            let [(operation, sent)] = &made[..] else { panic!("{made:?}") };
            assert_eq!(operation, "ChangeMessageVisibilityBatch");
            assert_eq!(sent["QueueUrl"], QUEUE);
            let entry = json!({
                "Id": "0", "ReceiptHandle": "receipt 0", "VisibilityTimeout": seconds,
            });
            assert_eq!(sent["Entries"], json!([entry]), "after attempt {attempts}");
        }
    }
}

#[tokio::test]
async fn unreadable_message_is_sent_to_the_dead_letters() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
    let response = invoke(&aws, &ACCEPTING, invocation(&["no event", GOLDEN], 1)).await;
    assert_eq!(response, failures(&[]));
    let sent = calls(&aws, "SendMessageBatch");
    assert_eq!((sent.len(), &sent[0]["QueueUrl"]), (1, &json!(DEAD)));
    let entry = &sent[0]["Entries"][0];
    assert_eq!(entry["MessageBody"], "no event");
    let attribute = |name: &str| entry["MessageAttributes"][name]["StringValue"].as_str().unwrap();
    assert!(attribute("reason").starts_with("unreadable: "), "{entry}");
    assert_eq!((attribute("attempts"), attribute("sent_at")), ("1", "2027-01-15T08:00:00+00:00"));
}

#[tokio::test]
async fn message_is_redelivered_if_the_dead_letters_refuse_it() {
    let half = |entry: &Value| entry["Id"] == "1";
    let aws = FakeAws::start(move |_, sent| response(sent, half)).await;
    let bodies = ["one", "two", "three"];
    let response = invoke(&aws, &ACCEPTING, invocation(&bodies, 1)).await;
    assert_eq!(response, failures(&["message 1"]));
    let aws = FakeAws::start(|_, _| FakeResponse::Error(400, "AccessDenied")).await;
    let response = invoke(&aws, &ACCEPTING, invocation(&bodies, 1)).await;
    assert_eq!(response, failures(&["message 0", "message 1", "message 2"]));
    // An entry that is missing from the response was not accepted either.
    let silent = json!({"Successful": [], "Failed": []});
    let aws = FakeAws::start(move |_, _| FakeResponse::Success(silent.clone())).await;
    let response = invoke(&aws, &ACCEPTING, invocation(&bodies, 1)).await;
    assert_eq!(response, failures(&["message 0", "message 1", "message 2"]));
}

#[tokio::test]
async fn last_failure_makes_a_dead_letter_and_an_outage_does_not() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
    assert_eq!(invoke(&aws, &FAILING, invocation(&[GOLDEN], 5)).await, failures(&[]));
    let sent = calls(&aws, "SendMessageBatch");
    assert_eq!((sent.len(), &sent[0]["QueueUrl"]), (1, &json!(DEAD)));

    let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
    for attempts in 1..=3 {
        let response = invoke(&aws, &UNAVAILABLE, invocation(&[GOLDEN], attempts)).await;
        assert_eq!(response, failures(&["message 0"]));
    }
    assert_eq!(calls(&aws, "SendMessageBatch"), Vec::<Value>::new());
    // Before the number of receives makes it look like a message that crashes its consumer.
    assert_eq!(invoke(&aws, &UNAVAILABLE, invocation(&[GOLDEN], 4)).await, failures(&[]));
    let sent = calls(&aws, "SendMessageBatch");
    assert_eq!((sent.len(), &sent[0]["QueueUrl"]), (1, &json!(QUEUE)));
    assert_eq!(sent[0]["Entries"][0]["MessageBody"], GOLDEN);
    assert_eq!(sent[0]["Entries"][0]["DelaySeconds"], 15);
}

#[tokio::test]
async fn large_messages_are_split_into_batches_that_sqs_takes() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| false)).await;
    let large = "x".repeat(100 * 1024);
    let bodies = [large.as_str(); 5];
    assert_eq!(invoke(&aws, &ACCEPTING, invocation(&bodies, 1)).await, failures(&[]));
    let sent = calls(&aws, "SendMessageBatch");
    let counts = sent.iter().map(|sent| sent["Entries"].as_array().unwrap().len());
    assert_eq!(counts.collect::<Vec<_>>(), [2, 2, 1]);
}

/// A queue with one message, which was received once.
async fn one_message(refuse_deletion: bool) -> FakeAws {
    let given = AtomicU32::new(0);
    FakeAws::start(move |operation, sent| match operation {
        "ReceiveMessage" if given.fetch_add(1, Ordering::Relaxed) == 0 => {
            FakeResponse::Success(json!({"Messages": [{
                "MessageId": "m", "ReceiptHandle": "r", "Body": GOLDEN, "MD5OfBody": "x",
                "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1800000000000"},
            }]}))
        }
        "ReceiveMessage" => FakeResponse::Never,
        _ => response(sent, |_| refuse_deletion),
    })
    .await
}

#[tokio::test]
async fn visibility_timeout_is_extended_while_a_message_is_handled() {
    let (aws, gate) = (one_message(false).await, Arc::new(Gate::default()));
    let timings = SqsTimings { visibility: Duration::from_secs(1), ..timings() };
    let (queue, stop) = (queue(&aws).with_timings(timings), CancellationToken::new());
    let handler = Held(Arc::clone(&gate));
    let handled = sqs_intake::once(&queue, &Clock::System, &handler, &stop);
    let extended = async {
        let extensions = || calls(&aws, "ChangeMessageVisibilityBatch");
        eventually("two extensions", async || (extensions().len() >= 2).then_some(())).await;
        gate.open();
    };
    let (handled, ()) = tokio::join!(handled, extended);
    handled.unwrap();
    let mut made = aws.calls();
    made.retain(|(operation, _)| operation != "ReceiveMessage");
    let last = made.pop().unwrap();
    for (operation, sent) in made {
        assert_eq!(operation, "ChangeMessageVisibilityBatch");
        let entry = json!({"Id": "0", "ReceiptHandle": "r", "VisibilityTimeout": 1});
        assert_eq!(sent["Entries"], json!([entry]));
    }
    assert_eq!(last.0, "DeleteMessageBatch", "a message is not extended after its deletion");
    assert_eq!(last.1["Entries"][0]["ReceiptHandle"], "r");
}

#[tokio::test]
async fn failed_deletion_is_an_error() {
    let aws = one_message(true).await;
    let stop = CancellationToken::new();
    let error =
        sqs_intake::once(&queue(&aws), &Clock::System, &ACCEPTING, &stop).await.unwrap_err();
    let error = shared::telemetry::causes(&error);
    assert!(error.contains("deleting a message: InternalError"), "{error}");
}

#[tokio::test]
async fn stopping_consumer_finishes_what_it_has_received() {
    let (aws, gate) = (one_message(false).await, Arc::new(Gate::default()));
    let stop = CancellationToken::new();
    let consumer = {
        let (queue, handler, stop) = (queue(&aws), Held(Arc::clone(&gate)), stop.clone());
        tokio::spawn(async move {
            sqs_intake::consume(queue, Clock::System, &handler, stop).await;
        })
    };
    gate.entered().await;
    stop.cancel();
    // Lets the consumer notice it while the message is being handled.
    tokio::task::yield_now().await;
    assert!(!consumer.is_finished());
    gate.open();
    within("the end of the consumer", consumer).await.unwrap();
    assert_eq!(calls(&aws, "DeleteMessageBatch").len(), 1);
}
