//! The publisher, on every response that EventBridge may return.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::bus::aws::EventBridge;
use shared::bus::{BusError, Outbound, Publish as _, Refused};
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::id::EventId;
use testkit::{FakeAws, FakeResponse};
use uuid::Uuid;

/// The timeout of the relay.
const RELAY_TIMEOUT: Duration = Duration::from_secs(2);

fn event(nth: usize, body: String) -> Outbound {
    let subject = Uuid::from_u128(nth as u128);
    let source = Event::SOURCE;
    Outbound {
        event_id: EventId::from_uuid(subject),
        source,
        event_type: "ProductUpdated",
        subject,
        body,
    }
}

fn events(count: usize) -> Vec<Outbound> {
    (0..count).map(|nth| event(nth, json!({"nth": nth}).to_string())).collect()
}

fn nth_of(entry: &Value) -> u64 {
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    detail["nth"].as_u64().unwrap_or_default()
}

/// A response that accepts every entry except where `refuse` returns an error code.
fn response(sent: &Value, refuse: impl Fn(u64) -> Option<&'static str>) -> FakeResponse {
    let mut failed = 0;
    let entries =
        sent["Entries"].as_array().unwrap().iter().map(|entry| match refuse(nth_of(entry)) {
            None => json!({"EventId": Uuid::nil()}),
            Some(code) => {
                failed += 1;
                json!({"ErrorCode": code, "ErrorMessage": "planted"})
            }
        });
    let entries: Vec<Value> = entries.collect();
    FakeResponse::Success(json!({"FailedEntryCount": failed, "Entries": entries}))
}

async fn publish(aws: &FakeAws, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
    EventBridge::new(&aws.environment(), "shop").publish(events).await
}

/// The indexes of the refused events, with the reasons.
fn refused(results: Vec<Result<(), Refused>>) -> Vec<(usize, String)> {
    let refusals = results.into_iter().enumerate();
    refusals.filter_map(|(nth, result)| Some((nth, result.err()?.0))).collect()
}

#[tokio::test]
async fn entry_has_source_type_and_the_envelope_unchanged() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| None)).await;
    let results = publish(&aws, &[event(7, "{\"a\":  1}".to_owned())]).await.unwrap();
    assert_eq!(results, [Ok(())]);
    let sent = json!({"Entries": [{
        "EventBusName": "shop", "Source": "vitrina.inventory", "DetailType": "ProductUpdated",
        "Detail": "{\"a\":  1}",
    }]});
    assert_eq!(aws.calls(), [("PutEvents".to_owned(), sent)]);
}

#[tokio::test]
async fn only_refused_entries_of_a_call_stay_pending_with_their_codes() {
    let codes = ["ThrottlingException", "InternalFailure", "MalformedDetail"];
    for code in codes {
        let refuse = move |nth| (nth % 5 == 3).then_some(code);
        let aws = FakeAws::start(move |_, sent| response(sent, refuse)).await;
        let results = publish(&aws, &events(23)).await.unwrap();
        assert_eq!(results.len(), 23);
        let refused = refused(results);
        assert_eq!(refused.iter().map(|(nth, _)| *nth).collect::<Vec<_>>(), [3, 8, 13, 18]);
        assert!(refused.iter().all(|(_, why)| why.starts_with(code)), "{refused:?}");
        assert_eq!(aws.calls().len(), 3, "refused entries are not retried in this round");
    }
}

#[tokio::test]
async fn oversized_event_is_refused_and_its_neighbours_are_published() {
    let aws = FakeAws::start(|_, sent| response(sent, |_| None)).await;
    let large = event(1, json!({"nth": 1, "large": "x".repeat(256 * 1024)}).to_string());
    let mut events = events(3);
    events[1] = large;
    let refused = refused(publish(&aws, &events).await.unwrap());
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 1 && refused[0].1.starts_with("TooLarge: "), "{refused:?}");
    assert_eq!(aws.calls().len(), 1);
}

#[tokio::test]
async fn refused_call_does_not_affect_the_other_calls() {
    let kinds =
        [(400, "ThrottlingException"), (500, "InternalFailure"), (400, "AccessDeniedException")];
    for (status, code) in kinds {
        let aws = FakeAws::start(move |_, sent| match nth_of(&sent["Entries"][0]) {
            10 => FakeResponse::Error(status, code),
            _ => response(sent, |_| None),
        });
        let refused = refused(publish(&aws.await, &events(30)).await.unwrap());
        let places: Vec<usize> = refused.iter().map(|(nth, _)| *nth).collect();
        assert_eq!(places, (10..20).collect::<Vec<_>>());
        assert!(refused.iter().all(|(_, why)| why.starts_with(code)), "{refused:?}");
    }
}

#[tokio::test]
async fn call_without_a_response_ends_within_the_relay_timeout() {
    let aws = FakeAws::start(|_, sent| match nth_of(&sent["Entries"][0]) {
        20 => FakeResponse::Never,
        _ => response(sent, |_| None),
    });
    let (aws, begun) = (aws.await, Instant::now());
    let refused = refused(publish(&aws, &events(40)).await.unwrap());
    assert!(begun.elapsed() < RELAY_TIMEOUT, "{:?}", begun.elapsed());
    let places: Vec<usize> = refused.iter().map(|(nth, _)| *nth).collect();
    assert_eq!(places, (20..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn publishing_fails_when_no_call_gets_a_response() {
    let responses = [
        FakeResponse::Never,
        FakeResponse::Malformed,
        FakeResponse::Error(503, "ServiceUnavailable"),
    ];
    for response in responses {
        let aws = FakeAws::start(move |_, _| response.clone()).await;
        let begun = Instant::now();
        let error = publish(&aws, &events(100)).await.unwrap_err();
        let is_expected = matches!(error, BusError::EventBridge(_) | BusError::NoResponse);
        assert!(is_expected, "{error:?}");
        assert!(begun.elapsed() < RELAY_TIMEOUT, "{:?}", begun.elapsed());
    }
    let nowhere = testkit::aws_environment("http://127.0.0.1:1");
    let bus = EventBridge::new(&nowhere, "shop");
    assert!(bus.publish(&events(1)).await.is_err());
}

#[tokio::test]
async fn entry_missing_from_the_response_is_not_published() {
    let aws = FakeAws::start(|_, _| {
        let entries = json!([{"EventId": Uuid::nil()}, {}]);
        FakeResponse::Success(json!({"FailedEntryCount": 0, "Entries": entries}))
    });
    let refused = refused(publish(&aws.await, &events(3)).await.unwrap());
    assert_eq!(refused.iter().map(|(nth, _)| *nth).collect::<Vec<_>>(), [1, 2]);
}
