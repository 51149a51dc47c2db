//! The publisher, on every response that EventBridge may return.

use std::time::Duration;

use serde_json::{Value, json};
use shared::bus::aws::{EventBridge, EventBridgeTimeouts};
use shared::bus::{BusError, Outbound, Publish as _, Refused};
use shared::contract::envelope::Event as _;
use shared::contract::inventory::Event;
use shared::id::EventId;
use testkit::{FakeAws, FakeResponse, MAX_WAIT, within};
use uuid::Uuid;

use crate::handlers::PATIENT_BUS;

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
    publish_within(PATIENT_BUS, aws, events).await
}

async fn publish_within(
    timeouts: EventBridgeTimeouts,
    aws: &FakeAws,
    events: &[Outbound],
) -> Result<Vec<Result<(), Refused>>, BusError> {
    let bus = EventBridge::with_timeouts(&aws.environment(), "shop", timeouts);
    within("the end of publishing", bus.publish(events)).await
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

/// Timeouts of which only one ends a silent call, after `timeout`.
fn each_timeout(timeout: Duration) -> [EventBridgeTimeouts; 3] {
    [
        EventBridgeTimeouts { budget: timeout, ..PATIENT_BUS },
        EventBridgeTimeouts { call: timeout, ..PATIENT_BUS },
        EventBridgeTimeouts { attempt: timeout, ..PATIENT_BUS },
    ]
}

#[tokio::test]
async fn each_timeout_ends_a_silent_call_and_spares_the_others() {
    for nth in 0..3 {
        let mut timeout = Duration::from_millis(50);
        loop {
            let aws = FakeAws::start(|_, sent| match nth_of(&sent["Entries"][0]) {
                20 => FakeResponse::Never,
                _ => response(sent, |_| None),
            });
            let aws = aws.await;
            let published = publish_within(each_timeout(timeout)[nth], &aws, &events(40)).await;
            let refused = published.map(refused).unwrap_or_default();
            let places: Vec<usize> = refused.iter().map(|(nth, _)| *nth).collect();
            if places == (20..30).collect::<Vec<_>>() {
                break;
            }
            // On a busy machine, a response may take longer than that.
            assert!(timeout < MAX_WAIT, "timeout {nth} ends other calls, too: {places:?}");
            timeout *= 2;
        }
    }
}

#[tokio::test]
async fn publishing_fails_when_no_call_gets_a_response() {
    for timeouts in each_timeout(Duration::from_millis(50)) {
        let aws = FakeAws::start(|_, _| FakeResponse::Never).await;
        let error = publish_within(timeouts, &aws, &events(50)).await.unwrap_err();
        let is_expected = matches!(error, BusError::EventBridge(_) | BusError::NoResponse);
        assert!(is_expected, "{error:?}");
    }
    for response in [FakeResponse::Malformed, FakeResponse::Error(503, "ServiceUnavailable")] {
        let aws = FakeAws::start(move |_, _| response.clone()).await;
        let error = publish(&aws, &events(50)).await.unwrap_err();
        assert!(matches!(error, BusError::EventBridge(_)), "{error:?}");
    }
    let nowhere = testkit::aws_environment("http://127.0.0.1:1");
    let bus = EventBridge::with_timeouts(&nowhere, "shop", PATIENT_BUS);
    assert!(within("the end of publishing", bus.publish(&events(1))).await.is_err());
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
