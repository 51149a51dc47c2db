//! Handlers and events for tests of the intake.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use shared::bus::aws::EventBridgeTimeouts;
use shared::contract::inventory::Event;
use shared::host::intake::{Delivery, Failure, Handler};
use testkit::{Gate, NO_TIMEOUT};

pub(crate) const GOLDEN: &str =
    include_str!("../../src/contract/golden/events/ProductUpdated.v1.json");

/// For tests of a bus that are not about its timeouts.
pub(crate) const PATIENT_BUS: EventBridgeTimeouts =
    EventBridgeTimeouts { budget: NO_TIMEOUT, call: NO_TIMEOUT, attempt: NO_TIMEOUT };

/// An event of inventory at this position.
pub(crate) fn inventory_event(position: i64) -> Value {
    let mut event: Value = serde_json::from_str(GOLDEN).unwrap();
    event["position"] = position.into();
    event
}

/// Decides each result by the event's position, and records the positions.
pub(crate) struct ByPosition {
    seen: Mutex<Vec<i64>>,
    decide: fn(i64) -> Result<(), Failure>,
}

impl ByPosition {
    pub(crate) fn new(decide: fn(i64) -> Result<(), Failure>) -> Self {
        Self { seen: Mutex::default(), decide }
    }

    /// The positions of the events, in the order of their arrival.
    pub(crate) fn seen(&self) -> Vec<i64> {
        self.seen.lock().unwrap().clone()
    }
}

impl Handler for ByPosition {
    type Event = Event;

    const SPAN: &'static str = "decide";

    async fn handle(&self, deliveries: &[Delivery<Event>]) -> Vec<Result<(), Failure>> {
        let positions = deliveries.iter().map(|delivery| delivery.envelope.position);
        self.seen.lock().unwrap().extend(positions.clone());
        positions.map(self.decide).collect()
    }
}

/// Handles every event once the gate is open.
pub(crate) struct Held(pub(crate) Arc<Gate>);

impl Handler for Held {
    type Event = Event;

    const SPAN: &'static str = "hold";

    async fn handle(&self, deliveries: &[Delivery<Event>]) -> Vec<Result<(), Failure>> {
        self.0.pass().await;
        vec![Ok(()); deliveries.len()]
    }
}
