//! Publishes to EventBridge in calls of up to ten events and reads the result of each entry.
//!
//! Promise: an event counts as published only if its own entry in a response has an id. In every
//! other case (refused, no response, unreadable response) it stays pending.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::StalledStreamProtectionConfig;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::error::{DisplayErrorContext, ProvideErrorMetadata as _, SdkError};
use aws_sdk_eventbridge::operation::put_events::{PutEventsError, PutEventsOutput};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::bus::publish::{BusError, Outbound, Publish, Refused};
use crate::contract::routes::event_bridge_source;

/// Maximum number of entries in one call.
const MAX_ENTRIES: usize = 10;

/// The entries of one call are together smaller than this, as measured by [`size_of`].
const MAX_BYTES: usize = 256 * 1024;

/// Concurrent calls. The bus promises no order.
const CONCURRENT_CALLS: usize = 4;

/// The timeouts of publishing.
#[derive(Clone, Copy, Debug)]
pub struct EventBridgeTimeouts {
    /// Of all calls together. Shorter than that of the relay: a bus that ends first says which events it
    /// accepted, and a relay that ends first publishes all of them again.
    pub budget: Duration,
    /// Of one call with all of its attempts.
    pub call: Duration,
    /// Of one attempt.
    pub attempt: Duration,
}

impl Default for EventBridgeTimeouts {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(1_900),
            call: Duration::from_millis(1_800),
            attempt: Duration::from_millis(1_500),
        }
    }
}

/// One retry, for a connection that was closed while idle, as happens while a function is frozen. A
/// throttled event waits in the outbox instead.
const ATTEMPTS: u32 = 2;

/// Backoff before the retry.
const BACKOFF: Duration = Duration::from_millis(50);

/// A bus of EventBridge. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    bus: String,
    budget: Duration,
}

impl EventBridge {
    /// The bus with this name or ARN.
    pub fn new(environment: &SdkConfig, bus: &str) -> Self {
        Self::with_timeouts(environment, bus, EventBridgeTimeouts::default())
    }

    /// As [`EventBridge::new`], with these timeouts.
    pub fn with_timeouts(
        environment: &SdkConfig,
        bus: &str,
        timeouts: EventBridgeTimeouts,
    ) -> Self {
        let EventBridgeTimeouts { budget, call, attempt } = timeouts;
        let retries =
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF);
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(call)
            .operation_attempt_timeout(attempt)
            .build();
        let config = aws_sdk_eventbridge::config::Builder::from(environment)
            .retry_config(retries)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), bus: bus.to_owned(), budget }
    }

    async fn put(
        &self,
        events: &[Outbound],
        call: &[usize],
    ) -> Result<PutEventsOutput, SdkError<PutEventsError>> {
        let entry = |&nth: &usize| {
            let Outbound { source, event_type, body, .. } = &events[nth];
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(event_bridge_source(source))
                .detail_type(*event_type)
                .detail(body)
                .build()
        };
        self.client.put_events().set_entries(Some(call.iter().map(entry).collect())).send().await
    }
}

impl Publish for EventBridge {
    /// One result for each event. An error only if no call got a response.
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        let Packed { calls, too_large } = pack(events);
        let deadline = Instant::now() + self.budget;
        // An event counts as refused until its entry reports success.
        let no_entry = || Err(Refused("NoResponse: no response has an entry for it".to_owned()));
        let mut results: Vec<_> = events.iter().map(|_| no_entry()).collect();
        for (nth, bytes) in too_large {
            let limit = MAX_BYTES;
            results[nth] = Err(Refused(format!("TooLarge: {bytes} bytes, of less than {limit}")));
        }
        let is_empty = calls.is_empty();
        let mut responses = futures::stream::iter(calls)
            .map(async |call| {
                let response = self.put(events, &call).await;
                (call, response)
            })
            .buffer_unordered(CONCURRENT_CALLS);
        let (mut has_response, mut failure) = (is_empty, None);
        while let Ok(Some((call, response))) = timeout_at(deadline, responses.next()).await {
            match response {
                Ok(response) => {
                    has_response = true;
                    for (nth, entry) in call.into_iter().zip(response.entries()) {
                        results[nth] = judge(entry);
                    }
                }
                Err(error) => {
                    let reason = describe(&error);
                    for nth in call {
                        results[nth] = Err(Refused(reason.clone()));
                    }
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if !has_response => Err(BusError::EventBridge(Box::new(error))),
            None if !has_response => Err(BusError::NoResponse),
            _ => Ok(results),
        }
    }
}

/// The events of each call, by index, and the events too large for any call, with their sizes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Packed {
    calls: Vec<Vec<usize>>,
    too_large: Vec<(usize, usize)>,
}

/// Packs events into as few calls as their order allows.
fn pack(events: &[Outbound]) -> Packed {
    let mut packed = Packed::default();
    let mut bytes = 0;
    for (nth, event) in events.iter().enumerate() {
        let size = size_of(event);
        if size >= MAX_BYTES {
            packed.too_large.push((nth, size));
            continue;
        }
        match packed.calls.last_mut() {
            Some(call) if call.len() < MAX_ENTRIES && bytes + size < MAX_BYTES => {
                call.push(nth);
                bytes += size;
            }
            _ => {
                packed.calls.push(vec![nth]);
                bytes = size;
            }
        }
    }
    packed
}

/// The size of an entry as EventBridge counts it: the bytes of source, type and detail. A time and
/// resources would count, too, but are not sent. See "Calculating `PutEvents` event entry size" in
/// its user guide.
fn size_of(event: &Outbound) -> usize {
    event_bridge_source(event.source).len() + event.event_type.len() + event.body.len()
}

/// An accepted entry has an id; a refused entry has a code.
fn judge(entry: &PutEventsResultEntry) -> Result<(), Refused> {
    match (entry.event_id(), entry.error_code()) {
        (Some(_), None) => Ok(()),
        (_, Some(code)) => Err(Refused(format!(
            "{code}: {}",
            entry.error_message().unwrap_or("without a message")
        ))),
        (None, None) => Err(Refused("its entry has neither an id nor a code".to_owned())),
    }
}

fn describe(error: &SdkError<PutEventsError>) -> String {
    let code = error.code().unwrap_or("NoResponse");
    format!("{code}: {}", DisplayErrorContext(error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    use crate::id::EventId;

    fn event(bytes: usize) -> Outbound {
        let (source, event_type) = ("vitrina/inventory", "ProductUpdated");
        let body = "x".repeat(bytes - source.len() - event_type.len());
        Outbound { event_id: EventId::nil(), source, event_type, subject: Uuid::nil(), body }
    }

    fn calls(sizes: &[usize]) -> Vec<Vec<usize>> {
        pack(&sizes.iter().map(|&bytes| event(bytes)).collect::<Vec<_>>()).calls
    }

    #[test]
    fn size_of_an_entry_is_what_eventbridge_counts() {
        let event = Outbound { body: "é€".to_owned(), ..event(100) };
        assert_eq!(size_of(&event), "vitrina.inventory".len() + "ProductUpdated".len() + 5);
    }

    #[test]
    fn events_go_in_tens() {
        let lengths: Vec<usize> = calls(&[100; 25]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [10, 10, 5]);
    }

    #[test]
    fn call_stays_within_the_byte_limit() {
        let half = MAX_BYTES / 2;
        assert_eq!(calls(&[half, half - 1]), [vec![0, 1]]);
        assert_eq!(calls(&[half, half]), [vec![0], vec![1]]);
    }

    #[test]
    fn oversized_event_is_left_out_and_its_neighbours_are_packed() {
        let events = [event(100), event(MAX_BYTES), event(100), event(MAX_BYTES - 1)];
        let packed = pack(&events);
        assert_eq!(packed.calls, [vec![0, 2], vec![3]]);
        assert_eq!(packed.too_large, [(1, MAX_BYTES)]);
    }

    proptest! {
        #[test]
        fn each_event_is_in_one_call_or_too_large(
            sizes in prop::collection::vec(
                prop_oneof![64..2_000_usize, 60_000..70_000_usize, 250_000..270_000_usize],
                0..60,
            ),
        ) {
            let events: Vec<Outbound> = sizes.iter().map(|&bytes| event(bytes)).collect();
            let packed = pack(&events);
            for call in &packed.calls {
                prop_assert!(!call.is_empty() && call.len() <= MAX_ENTRIES);
                prop_assert!(call.iter().map(|&nth| sizes[nth]).sum::<usize>() < MAX_BYTES);
            }
            let mut places: Vec<usize> = packed.calls.into_iter().flatten().collect();
            places.extend(packed.too_large.iter().map(|(nth, _)| nth));
            places.sort_unstable();
            prop_assert_eq!(places, (0..sizes.len()).collect::<Vec<_>>());
        }
    }
}
