//! Failpoints: named places between two effects where a test can stop or delay a process.
//!
//! Without the feature `failpoints` they compile to nothing.

#[cfg(feature = "failpoints")]
pub use control::{Control, install};

/// Reaches failpoint `name`. Names are unique and say what has just happened: `relay.published`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &'static str) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Reaches failpoint `name`. The [`Control`] of this thread decides when, and whether, it is passed.
#[cfg(feature = "failpoints")]
pub async fn reach(name: &'static str) {
    if let Some(control) = control::installed() {
        control.reached(name).await;
    }
}

#[cfg(feature = "failpoints")]
mod control {
    use std::cell::RefCell;
    use std::sync::Arc;

    use futures::future::BoxFuture;

    /// Decides what happens at failpoints.
    pub trait Control: Send + Sync {
        /// Completes when the failpoint may be passed.
        fn reached(&self, name: &'static str) -> BoxFuture<'static, ()>;
    }

    thread_local! {
        static CONTROL: RefCell<Option<Arc<dyn Control>>> = const { RefCell::new(None) };
    }

    /// Installs `control` for all failpoints on this thread.
    pub fn install(control: Arc<dyn Control>) {
        CONTROL.with_borrow_mut(|installed| *installed = Some(control));
    }

    pub(super) fn installed() -> Option<Arc<dyn Control>> {
        CONTROL.with_borrow(Clone::clone)
    }
}
