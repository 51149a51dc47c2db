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
    passed: Mutex<BTreeMap<&'static str, u32>>,
}

tokio::task_local! {
    /// Set within the work, whose own points are not those of the operation. A flag in the shared state
    /// would let concurrent parts of the operation pass unseen.
    static IS_WORKING: ();
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
        let this = Arc::new(Self { point, times, work: Box::new(work), passed: Mutex::default() });
        install(Arc::new(Installed(Arc::clone(&this))));
        this
    }

    /// Only counts.
    pub fn none() -> Arc<Self> {
        Self::at("", 0, |_| Box::pin(std::future::ready(())))
    }

    /// How often each point was passed since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, u32> {
        std::mem::take(&mut *self.passed())
    }

    fn passed(&self) -> MutexGuard<'_, BTreeMap<&'static str, u32>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Installed(Arc<Interference>);

impl Control for Installed {
    fn reached(&self, point: &'static str) -> BoxFuture<'static, ()> {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            if IS_WORKING.try_get().is_ok() {
                return;
            }
            let pass = {
                let mut passed = this.passed();
                let pass = passed.entry(point).or_default();
                *pass += 1;
                *pass
            };
            if point == this.point && pass <= this.times {
                IS_WORKING.scope((), (this.work)(pass)).await;
            }
        })
    }
}
