//! Controls failpoints: an operation passes a point, is held there, or is killed there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::failpoint::Control;
use tokio::sync::{mpsc, oneshot};

tokio::task_local! {
    /// The operation that a task belongs to.
    pub(crate) static OPERATION: u64;
}

/// What happens to an operation at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It waits there until it is released.
    Hold,
    /// Its process is killed there.
    Crash,
}

/// The point at which an operation is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The point after so many others.
    After(u32, Stop),
    /// The first point of this name.
    At(&'static str, Stop),
}

/// A report that an operation was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    pub(crate) operation: u64,
    pub(crate) point: &'static str,
    pub(crate) stop: Stop,
}

/// The points of one process.
pub(crate) struct Points {
    state: Mutex<State>,
    stopped: mpsc::UnboundedSender<Stopped>,
}

#[derive(Default)]
struct State {
    /// The operation that owns the points of a background task, such as a group commit's writer.
    active: u64,
    plans: BTreeMap<u64, Plan>,
    held: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    has_crashed: bool,
    reached: BTreeSet<&'static str>,
}

impl Points {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Stopped>) {
        let (stopped, receiver) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), stopped }, receiver)
    }

    /// Makes `operation` the one that moves.
    pub(crate) fn activate(&self, operation: u64, plan: Option<Plan>) {
        let mut state = self.state();
        state.active = operation;
        if let Some(plan) = plan {
            state.plans.insert(operation, plan);
        }
    }

    /// Releases a held operation.
    pub(crate) fn release(&self, operation: u64, plan: Option<Plan>) {
        self.activate(operation, plan);
        for waiting in self.state().held.remove(&operation).unwrap_or_default() {
            // An error means that the task was dropped in the meantime.
            let _ = waiting.send(());
        }
    }

    /// Clears the set of reached points.
    pub(crate) fn clear_reached(&self) {
        self.state().reached.clear();
    }

    /// Names of all points that were reached since the last [`Self::clear_reached`].
    pub(crate) fn reached(&self) -> BTreeSet<&'static str> {
        self.state().reached.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for Points {
    fn reached(&self, point: &'static str) -> BoxFuture<'static, ()> {
        let mut state = self.state();
        state.reached.insert(point);
        if state.has_crashed {
            return std::future::pending().boxed();
        }
        let operation = OPERATION.try_with(|id| *id).unwrap_or(state.active);
        let stop = match state.plans.get_mut(&operation) {
            Some(Plan::After(0, stop)) => Some(*stop),
            Some(Plan::At(name, stop)) if *name == point => Some(*stop),
            Some(Plan::After(left, _)) => {
                *left -= 1;
                None
            }
            Some(Plan::At(..)) | None => None,
        };
        if let Some(stop) = stop {
            state.plans.remove(&operation);
            let stopped = Stopped { operation, point, stop };
            self.stopped
                .send(stopped)
                .expect("the simulation receives until the process is dropped");
            if stop == Stop::Crash {
                state.has_crashed = true;
                return std::future::pending().boxed();
            }
            state.held.insert(operation, Vec::new());
        }
        // While one task of an operation is held, all its tasks stop at their next point.
        let Some(held) = state.held.get_mut(&operation) else {
            return std::future::ready(()).boxed();
        };
        let (release, released) = oneshot::channel();
        held.push(release);
        released.map(drop).boxed()
    }
}
