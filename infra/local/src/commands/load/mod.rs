//! Load: HTTP/1.1 over kept connections, out of one thread of its own, as light as can be, since it
//! shares the machine with what it measures.
//!
//! A closed loop asks again as soon as it is answered: it finds the rate. An open loop asks at a
//! fixed rate, whether answers come or not, and counts from the moment when it meant to ask: it
//! finds the latency.

#![expect(
    clippy::float_arithmetic,
    reason = "what is computed here was measured; nobody is owed it"
)]

mod command;
mod generator;
pub mod lag;
mod number;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use command::LoadArgs;
pub(crate) use command::run;
pub use generator::{closed_loop, open_loop};
pub use number::{Latencies, figure, rate};
pub use wire::{Connection, get, post};

/// Writes the request with this number, whole, into an empty buffer.
pub type WriteRequest = dyn Fn(u64, &mut Vec<u8>) + Send + Sync;

/// Is shown the body of every answer that was hoped for, in the thread of the load.
pub type Observe = dyn Fn(u64, &[u8]) + Send + Sync;

/// Requests of one kind.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub duration: Duration,
    /// The status that is hoped for; other answers are counted apart.
    pub status: u16,
    pub request: Arc<WriteRequest>,
    pub observe: Option<Arc<Observe>>,
}

/// What a load showed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Answers that were hoped for.
    pub answered: u64,
    /// Other answers, and the status of one of them.
    pub refused: u64,
    pub refusal: Option<u16>,
    pub took: Duration,
    pub latencies: Latencies,
}
