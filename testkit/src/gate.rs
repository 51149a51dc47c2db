//! Holds a handler of a test where the test wants it.

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::within;

/// A gate in a handler, closed until the test opens it.
#[derive(Debug)]
pub struct Gate {
    entered: Semaphore,
    opened: CancellationToken,
}

impl Default for Gate {
    fn default() -> Self {
        Self { entered: Semaphore::new(0), opened: CancellationToken::new() }
    }
}

impl Gate {
    /// In the handler: reports that it is here, and waits until the gate is open.
    pub async fn pass(&self) {
        self.entered.add_permits(1);
        self.opened.cancelled().await;
    }

    /// In the test: waits until a handler is at the gate.
    ///
    /// # Panics
    /// If none arrives.
    pub async fn entered(&self) {
        within("a handler at the gate", self.entered.acquire()).await.unwrap().forget();
    }

    /// In the test: opens the gate for every handler.
    pub fn open(&self) {
        self.opened.cancel();
    }
}
