//! A handler that says what it is told to, and events for it.

use std::sync::Mutex;

use serde_json::Value;
use shared::host::intake::{Delivery, Failure, Handler};

pub(crate) const GOLDEN: &str =
    include_str!("../../src/contract/golden/events/ProductUpdated.v1.json");

/// The event with this position.
pub(crate) fn event(position: i64) -> Value {
    let mut event: Value = serde_json::from_str(GOLDEN).unwrap();
    event["position"] = position.into();
    event
}

/// Says of each event what it is told to, and remembers what it was shown.
pub(crate) struct Told {
    seen: Mutex<Vec<i64>>,
    say: fn(i64) -> Result<(), Failure>,
}

impl Told {
    pub(crate) fn to(say: fn(i64) -> Result<(), Failure>) -> Self {
        Self { seen: Mutex::default(), say }
    }

    /// The positions of the events, in the order in which they were shown.
    pub(crate) fn seen(&self) -> Vec<i64> {
        self.seen.lock().unwrap().clone()
    }
}

impl Handler for Told {
    async fn handle(&self, deliveries: &[Delivery]) -> Vec<Result<(), Failure>> {
        let positions = deliveries.iter().map(|delivery| delivery.envelope.position);
        self.seen.lock().unwrap().extend(positions.clone());
        positions.map(self.say).collect()
    }
}
