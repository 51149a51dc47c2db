//! A bus with injected faults, reproducible by seed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use shared::bus::postgres::PgBus;
use shared::bus::{BusError, Outbound, Publish, Refused};

/// Refuses, duplicates, delays and reorders events, or fails after it has delivered them.
#[derive(Clone, Debug)]
pub struct FaultyBus {
    inner: PgBus,
    /// Shared, because the bus outlives the processes that publish to it.
    state: Arc<Mutex<State>>,
}

/// Percentage of events that each fault affects.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Refused with a reason, as EventBridge refuses an entry.
    pub refused: u32,
    /// Delivered twice.
    pub duplicated: u32,
    /// Held back until another event is reordered, or until [`FaultyBus::stop_faults`].
    pub delayed: u32,
    /// Delivered, but the call fails: the relay cannot know which of its events were published.
    pub unacknowledged: u32,
    /// Shuffled with the delayed events and with the earlier events of the same call.
    pub reordered: u32,
}

impl Rates {
    /// The same percentage for every fault.
    pub const fn each(percent: u32) -> Self {
        Self {
            refused: percent,
            duplicated: percent,
            delayed: percent,
            unacknowledged: percent,
            reordered: percent,
        }
    }

    const fn never() -> Self {
        Self::each(0)
    }

    fn pick(self, rng: &mut StdRng) -> Option<Fault> {
        let kinds = [
            (self.refused, Fault::Refused),
            (self.duplicated, Fault::Duplicated),
            (self.delayed, Fault::Delayed),
            (self.unacknowledged, Fault::Unacknowledged),
            (self.reordered, Fault::Reordered),
        ];
        let mut drawn = rng.random_range(0..100);
        for (rate, fault) in kinds {
            if drawn < rate {
                return Some(fault);
            }
            drawn -= rate;
        }
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Refused,
    Duplicated,
    Delayed,
    Unacknowledged,
    Reordered,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    rates: Rates,
    delayed: Vec<Outbound>,
    faults: u32,
}

impl FaultyBus {
    /// Injects faults in front of `inner`.
    pub fn new(inner: PgBus, seed: u64, rates: Rates) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let state = State { rng, rates, delayed: Vec::new(), faults: 0 };
        Self { inner, state: Arc::new(Mutex::new(state)) }
    }

    /// The same bus over another connection, as another process would use it.
    #[must_use]
    pub fn through(&self, inner: PgBus) -> Self {
        Self { inner, state: Arc::clone(&self.state) }
    }

    /// Number of injected faults.
    pub fn faults(&self) -> u32 {
        self.state().faults
    }

    /// Stops injecting faults and delivers the delayed events.
    pub async fn stop_faults(&self) -> Result<(), BusError> {
        let delayed = {
            let mut state = self.state();
            state.rates = Rates::never();
            std::mem::take(&mut state.delayed)
        };
        self.inner.publish(&delayed).await?;
        Ok(())
    }

    fn plan(&self, events: &[Outbound]) -> Plan {
        let mut state = self.state();
        let mut plan = Plan { send: Vec::new(), results: Vec::new(), is_acknowledged: true };
        for event in events {
            let rates = state.rates;
            let fault = rates.pick(&mut state.rng);
            state.faults += u32::from(fault.is_some());
            let mut result = Ok(());
            match fault {
                Some(Fault::Refused) => result = Err(Refused("planted".to_owned())),
                Some(Fault::Duplicated) => plan.send.extend([event.clone(), event.clone()]),
                Some(Fault::Delayed) => state.delayed.push(event.clone()),
                Some(Fault::Unacknowledged) => {
                    plan.send.push(event.clone());
                    plan.is_acknowledged = false;
                }
                Some(Fault::Reordered) => {
                    let late = std::mem::take(&mut state.delayed);
                    plan.send.extend(late);
                    plan.send.push(event.clone());
                    plan.send.shuffle(&mut state.rng);
                }
                None => plan.send.push(event.clone()),
            }
            plan.results.push(result);
        }
        plan
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publish for FaultyBus {
    async fn publish(&self, events: &[Outbound]) -> Result<Vec<Result<(), Refused>>, BusError> {
        let Plan { send, results, is_acknowledged } = self.plan(events);
        if !send.is_empty() {
            self.inner.publish(&send).await?;
        }
        if is_acknowledged { Ok(results) } else { Err(BusError::NoResponse) }
    }
}

struct Plan {
    send: Vec<Outbound>,
    results: Vec<Result<(), Refused>>,
    is_acknowledged: bool,
}
