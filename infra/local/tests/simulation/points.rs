//! Who passes a point, who is held there, and who ends there.

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
    /// It waits there until it is let go.
    Hold,
    /// Its process ends there.
    Crash,
}

/// Which of the points that an operation reaches stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The one after so many others.
    After(u32, Stop),
    /// The first of this name.
    At(&'static str, Stop),
}

/// An operation was stopped.
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
    /// Whose points those are that a task of its own reaches, such as a writer of a group.
    active: u64,
    plans: BTreeMap<u64, Plan>,
    held: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    is_dead: bool,
    reached: BTreeSet<&'static str>,
}

impl Points {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Stopped>) {
        let (stopped, told) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), stopped }, told)
    }

    /// From now on `operation` is the one that moves.
    pub(crate) fn activate(&self, operation: u64, plan: Option<Plan>) {
        let mut state = self.state();
        state.active = operation;
        if let Some(plan) = plan {
            state.plans.insert(operation, plan);
        }
    }

    /// Lets go of an operation that is held.
    pub(crate) fn release(&self, operation: u64, plan: Option<Plan>) {
        self.activate(operation, plan);
        for waiting in self.state().held.remove(&operation).unwrap_or_default() {
            // Whoever was dropped meanwhile needs no telling.
            let _ = waiting.send(());
        }
    }

    /// Forgets which points were reached.
    pub(crate) fn forget(&self) {
        self.state().reached.clear();
    }

    /// The names of all points that were reached since.
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
        if state.is_dead {
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
            let told = Stopped { operation, point, stop };
            self.stopped.send(told).expect("somebody watches every process");
            if stop == Stop::Crash {
                state.is_dead = true;
                return std::future::pending().boxed();
            }
            state.held.insert(operation, Vec::new());
        }
        // All of an operation stands still while one part of it is held.
        let Some(held) = state.held.get_mut(&operation) else {
            return std::future::ready(()).boxed();
        };
        let (release, released) = oneshot::channel();
        held.push(release);
        released.map(drop).boxed()
    }
}
