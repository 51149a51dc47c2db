//! Buses that are out.

use std::sync::{Arc, Mutex, PoisonError};

use shared::bus::{BusError, Outbound, Publish, Refused};
use tokio::time::Instant;

use crate::Hang;

/// A bus that never responds. Callers wait in the time of the runtime, which passes at once.
#[derive(Clone, Debug, Default)]
pub struct SilentBus(pub Hang);

impl Publish for SilentBus {
    async fn publish(&self, _: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        self.0.wait().await
    }
}

/// A bus that fails at once, and when it was called.
#[derive(Clone, Debug, Default)]
pub struct DeadBus(Arc<Mutex<Vec<Instant>>>);

impl DeadBus {
    /// When it was called, in the time of the runtime.
    pub fn calls(&self) -> Vec<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Publish for DeadBus {
    async fn publish(&self, _: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        // Paused time: the tests skip it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        Err(BusError::NoResponse)
    }
}
