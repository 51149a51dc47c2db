//! Points between two effects, at which a test may stop a process for good or for a while.
//!
//! Outside tests they are nothing: without the feature `failpoints` a point does not exist in the
//! program that is built.

#[cfg(feature = "failpoints")]
pub use control::{Control, install};

/// Reaches the point `name`. Names are unique, and are those of what has just happened:
/// `relay.published`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &'static str) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Reaches the point `name`: whoever controls this thread's points decides when, and whether, it
/// is passed.
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

    /// Decides what happens at points.
    pub trait Control: Send + Sync {
        /// Ends when the point may be passed.
        fn reached(&self, name: &'static str) -> BoxFuture<'static, ()>;
    }

    thread_local! {
        static CONTROL: RefCell<Option<Arc<dyn Control>>> = const { RefCell::new(None) };
    }

    /// Puts the points of everything that runs on this thread under `control`.
    pub fn install(control: Arc<dyn Control>) {
        CONTROL.with_borrow_mut(|installed| *installed = Some(control));
    }

    pub(super) fn installed() -> Option<Arc<dyn Control>> {
        CONTROL.with_borrow(Clone::clone)
    }
}
