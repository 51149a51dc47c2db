//! Interference at failpoints: another client acts exactly between two steps of an operation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use shared::failpoint::{Control, install};

type Work = Box<dyn Fn(u32) -> BoxFuture<'static, ()> + Send + Sync>;

/// Counts the failpoints that operations of this thread pass, and acts at one of them.
pub struct Interference {
    point: &'static str,
    times: u32,
    work: Work,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    passed: BTreeMap<&'static str, u32>,
    /// The points that the work itself passes do not count as points of the operation.
    is_working: bool,
}

impl std::fmt::Debug for Interference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interference").field("point", &self.point).finish_non_exhaustive()
    }
}

impl Interference {
    /// Does `work` at each of the first `times` passes of `point`. It gets the number of the pass,
    /// from 1.
    pub fn at(
        point: &'static str,
        times: u32,
        work: impl Fn(u32) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let this = Arc::new(Self { point, times, work: Box::new(work), state: Mutex::default() });
        install(Arc::new(Installed(Arc::clone(&this))));
        this
    }

    /// Only counts.
    pub fn none() -> Arc<Self> {
        Self::at("", 0, |_| Box::pin(std::future::ready(())))
    }

    /// How often each point was passed since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, u32> {
        std::mem::take(&mut self.state().passed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Installed(Arc<Interference>);

impl Control for Installed {
    fn reached(&self, point: &'static str) -> BoxFuture<'static, ()> {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            let pass = {
                let mut state = this.state();
                if state.is_working {
                    return;
                }
                let passed = state.passed.entry(point).or_default();
                *passed += 1;
                let pass = *passed;
                if point != this.point || pass > this.times {
                    return;
                }
                state.is_working = true;
                pass
            };
            (this.work)(pass).await;
            this.state().is_working = false;
        })
    }
}
