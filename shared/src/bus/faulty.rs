//! A bus that fails on purpose, always in the same way for the same seed.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{BusError, Outbound, PgBus, Refused};

/// Drops, doubles, delays, reorders and stops what is published through it.
#[derive(Debug)]
pub struct FaultyBus {
    inner: PgBus,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    /// Of a hundred publishes, how many go wrong in one way or another.
    percent: u32,
    delayed: Vec<Outbound>,
    faults: u32,
}

impl FaultyBus {
    /// A bus in front of `inner` of whose publishes `percent` of a hundred go wrong.
    pub fn new(inner: PgBus, seed: u64, percent: u32) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let state = State { rng, percent, delayed: Vec::new(), faults: 0 };
        Self { inner, state: Mutex::new(state) }
    }

    /// No more faults; what was delayed is delivered. Returns how many faults there were.
    pub async fn calm(&self) -> Result<u32, BusError> {
        let (delayed, faults) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.percent = 0;
            (std::mem::take(&mut state.delayed), state.faults)
        };
        self.inner.publish(&delayed).await?;
        Ok(faults)
    }

    pub(super) async fn publish(
        &self,
        events: &[Outbound],
    ) -> Result<Vec<Result<(), Refused>>, BusError> {
        let plan = self.plan(events);
        let mut results = plan.results;
        if !plan.send.is_empty() {
            self.inner.publish(&plan.send).await?;
        }
        if plan.stop {
            // The relay stopped after the bus had taken the events and before it knew.
            return Err(BusError::Planted);
        }
        results.resize(events.len(), Ok(()));
        Ok(results)
    }

    fn plan(&self, events: &[Outbound]) -> Plan {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan { send: Vec::new(), results: Vec::new(), stop: false };
        for event in events {
            let faulty = state.rng.random_range(0..100) < state.percent;
            state.faults += u32::from(faulty);
            let fault = if faulty { state.rng.random_range(0..5) } else { 5 };
            let mut result = Ok(());
            match fault {
                // Dropped: the bus says so, as EventBridge does for an entry.
                0 => result = Err(Refused("planted".to_owned())),
                1 => plan.send.extend([event.clone(), event.clone()]),
                2 => state.delayed.push(event.clone()),
                3 => {
                    plan.send.push(event.clone());
                    plan.stop = true;
                }
                // Late: in front of what was sent before it.
                4 => {
                    let late = std::mem::take(&mut state.delayed);
                    plan.send.extend(late);
                    plan.send.push(event.clone());
                    plan.send.shuffle(&mut state.rng);
                }
                _ => plan.send.push(event.clone()),
            }
            plan.results.push(result);
        }
        plan
    }
}

struct Plan {
    send: Vec<Outbound>,
    results: Vec<Result<(), Refused>>,
    stop: bool,
}
