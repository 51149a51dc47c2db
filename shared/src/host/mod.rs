//! Hosts run what a service is: a router, a handler of events, or a tick. They know how to wait, to
//! stop and to answer; the service knows nothing of them.

pub mod dead_letters;
pub mod health;
pub mod http;
pub mod intake;
pub mod metrics_recorder;
pub mod process;
pub mod rate_limit;
pub mod sqs_intake;
pub mod tick;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM.
pub fn stop_on_signal() -> Result<CancellationToken, std::io::Error> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}
