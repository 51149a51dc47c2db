use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Chooses the fault of a call to a store, if any, by a description of the call.
type Plan<F> = Box<dyn FnMut(&str) -> Option<F> + Send>;

/// A plan of faults between a program and a store. Cheap to clone; clones share the plan.
pub struct Faults<F>(Arc<Mutex<State<F>>>);

struct State<F> {
    calls: u64,
    plan: Option<Plan<F>>,
}

impl<F> Clone for Faults<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { calls: 0, plan: None })))
    }
}

impl<F> std::fmt::Debug for Faults<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl<F> Faults<F> {
    /// Lets `plan` choose the fault of every later call.
    pub fn plan(&self, plan: impl FnMut(&str) -> Option<F> + Send + 'static) {
        self.state().plan = Some(Box::new(plan));
    }

    /// Stops injecting faults.
    pub fn clear(&self) {
        self.state().plan = None;
    }

    /// Number of calls.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn decide(&self, call: &str) -> Option<F> {
        let mut state = self.state();
        state.calls += 1;
        state.plan.as_mut().and_then(|plan| plan(call))
    }

    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Copy + Send + 'static> Faults<F> {
    /// Injects `fault` into one call, after `after` calls without a fault.
    pub fn once_after(&self, after: u64, fault: F) {
        let mut left = Some(after);
        self.plan(move |_| {
            let now = left?;
            left = now.checked_sub(1);
            left.is_none().then_some(fault)
        });
    }
}
