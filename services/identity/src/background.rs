//! Work that goes on after the response that caused it.

use tokio::sync::watch;

/// Spawns such work, and counts what has not ended. Cheap to clone; clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Background {
    running: watch::Sender<usize>,
}

/// Counts one piece of work until it is dropped, even by a panic.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Background {
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        tokio::spawn(async move {
            work.await;
            drop(running);
        });
    }

    /// Waits until all work of earlier responses has ended.
    pub async fn finished(&self) {
        // Fails only without a sender, and this is one.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }
}
