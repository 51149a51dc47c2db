//! The publisher, against everything that EventBridge may answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::bus::{Bus, BusError, EventBridge, Outbound, Refused};
use testkit::{AwsWire, WireAnswer};
use uuid::Uuid;

/// What the relay waits for at most.
const PATIENCE: Duration = Duration::from_secs(2);

fn event(nth: usize, body: String) -> Outbound {
    let subject = Uuid::from_u128(nth as u128);
    Outbound { event_id: subject, event_type: "ProductUpdated", subject, body }
}

fn events(count: usize) -> Vec<Outbound> {
    (0..count).map(|nth| event(nth, json!({"nth": nth}).to_string())).collect()
}

fn nth_of(entry: &Value) -> u64 {
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    detail["nth"].as_u64().unwrap_or_default()
}

/// Takes the entries that `refuse` gives no code for.
fn answer(sent: &Value, refuse: impl Fn(u64) -> Option<&'static str>) -> WireAnswer {
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
    WireAnswer::Fine(json!({"FailedEntryCount": failed, "Entries": entries}))
}

async fn publish(
    wire: &AwsWire,
    events: &[Outbound],
) -> Result<Vec<Result<(), Refused>>, BusError> {
    Bus::EventBridge(EventBridge::new(&wire.environment(), "shop")).publish(events).await
}

/// The places of the events that were refused, and why.
fn refused(results: Vec<Result<(), Refused>>) -> Vec<(usize, String)> {
    let refusals = results.into_iter().enumerate();
    refusals.filter_map(|(nth, result)| Some((nth, result.err()?.0))).collect()
}

#[tokio::test]
async fn an_event_is_sent_with_what_rules_match_by_and_its_envelope_as_it_is() {
    let wire = AwsWire::start(|_, sent| answer(sent, |_| None)).await;
    let results = publish(&wire, &[event(7, "{\"a\":  1}".to_owned())]).await.unwrap();
    assert_eq!(results, [Ok(())]);
    let sent = json!({"Entries": [{
        "EventBusName": "shop", "Source": "vitrina.inventory", "DetailType": "ProductUpdated",
        "Detail": "{\"a\":  1}",
    }]});
    assert_eq!(wire.calls(), [("PutEvents".to_owned(), sent)]);
}

#[tokio::test]
async fn of_a_call_only_the_entries_that_were_refused_stay_pending_each_with_its_code() {
    let codes = ["ThrottlingException", "InternalFailure", "MalformedDetail"];
    for code in codes {
        let refuse = move |nth| (nth % 5 == 3).then_some(code);
        let wire = AwsWire::start(move |_, sent| answer(sent, refuse)).await;
        let results = publish(&wire, &events(23)).await.unwrap();
        assert_eq!(results.len(), 23);
        let refused = refused(results);
        assert_eq!(refused.iter().map(|(nth, _)| *nth).collect::<Vec<_>>(), [3, 8, 13, 18]);
        assert!(refused.iter().all(|(_, why)| why.starts_with(code)), "{refused:?}");
        assert_eq!(wire.calls().len(), 3, "what was refused is not for this round");
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_its_neighbours_are_published() {
    let wire = AwsWire::start(|_, sent| answer(sent, |_| None)).await;
    let large = event(1, json!({"nth": 1, "large": "x".repeat(256 * 1024)}).to_string());
    let mut events = events(3);
    events[1] = large;
    let refused = refused(publish(&wire, &events).await.unwrap());
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 1 && refused[0].1.starts_with("TooLarge: "), "{refused:?}");
    assert_eq!(wire.calls().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_refused_as_a_whole_takes_the_others_not_with_it() {
    let kinds =
        [(400, "ThrottlingException"), (500, "InternalFailure"), (400, "AccessDeniedException")];
    for (status, code) in kinds {
        let wire = AwsWire::start(move |_, sent| match nth_of(&sent["Entries"][0]) {
            10 => WireAnswer::Refused(status, code),
            _ => answer(sent, |_| None),
        });
        let refused = refused(publish(&wire.await, &events(30)).await.unwrap());
        let places: Vec<usize> = refused.iter().map(|(nth, _)| *nth).collect();
        assert_eq!(places, (10..20).collect::<Vec<_>>());
        assert!(refused.iter().all(|(_, why)| why.starts_with(code)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends_before_the_relay_gives_up_and_the_others_count() {
    let wire = AwsWire::start(|_, sent| match nth_of(&sent["Entries"][0]) {
        20 => WireAnswer::Silence,
        _ => answer(sent, |_| None),
    });
    let (wire, begun) = (wire.await, Instant::now());
    let refused = refused(publish(&wire, &events(40)).await.unwrap());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let places: Vec<usize> = refused.iter().map(|(nth, _)| *nth).collect();
    assert_eq!(places, (20..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn where_no_call_is_answered_the_bus_could_not_be_asked() {
    let answers =
        [WireAnswer::Silence, WireAnswer::Garbage, WireAnswer::Refused(503, "ServiceUnavailable")];
    for answer in answers {
        let wire = AwsWire::start(move |_, _| answer.clone()).await;
        let begun = Instant::now();
        let error = publish(&wire, &events(100)).await.unwrap_err();
        let told = matches!(error, BusError::EventBridge(_) | BusError::NoAnswer);
        assert!(told, "{error:?}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
    let nowhere = testkit::aws_environment("http://127.0.0.1:1");
    let bus = Bus::EventBridge(EventBridge::new(&nowhere, "shop"));
    assert!(bus.publish(&events(1)).await.is_err());
}

#[tokio::test]
async fn an_entry_that_the_answer_does_not_mention_is_not_published() {
    let wire = AwsWire::start(|_, _| {
        let entries = json!([{"EventId": Uuid::nil()}, {}]);
        WireAnswer::Fine(json!({"FailedEntryCount": 0, "Entries": entries}))
    });
    let refused = refused(publish(&wire.await, &events(3)).await.unwrap());
    assert_eq!(refused.iter().map(|(nth, _)| *nth).collect::<Vec<_>>(), [1, 2]);
}
