//! Load: HTTP/1.1 over kept connections, out of one thread of its own, as light as can be, since it
//! shares the machine with what it measures.
//!
//! A closed loop asks again as soon as it is answered: it finds the rate. An open loop asks at a
//! fixed rate, whether answers come or not, and counts from the moment when it meant to ask: it
//! finds the latency.

mod generator;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::goal::Stat;
use crate::number::{Latencies, rate};

pub(crate) use generator::{closed_loop, open_loop};
pub(crate) use wire::{Connection, get, post};

/// Writes the request with this number, whole, into an empty buffer.
pub(crate) type WriteRequest = dyn Fn(u64, &mut Vec<u8>) + Send + Sync;

/// Is shown the body of every answer that was hoped for, in the thread of the load.
pub(crate) type Observe = dyn Fn(u64, &[u8]) + Send + Sync;

/// Requests of one kind.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// The status that is hoped for; other answers are counted apart.
    pub(crate) status: u16,
    pub(crate) request: Arc<WriteRequest>,
    pub(crate) observe: Option<Arc<Observe>>,
}

/// What a load showed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Answers that were hoped for.
    pub(crate) answered: u64,
    /// Other answers, and the status of one of them.
    pub(crate) refused: u64,
    pub(crate) refusal: Option<u16>,
    pub(crate) took: Duration,
    pub(crate) latencies: Latencies,
}

impl Seen {
    pub(crate) fn stat(&self) -> Stat {
        Stat {
            value: rate(self.answered, self.took),
            p50_ms: Some(self.latencies.quantile(0.5)),
            p99_ms: Some(self.latencies.quantile(0.99)),
        }
    }

    /// As [`Seen::stat`], where each answer is about `each` things.
    pub(crate) fn stat_of(&self, each: u64) -> Stat {
        Stat { value: rate(self.answered * each, self.took), ..self.stat() }
    }
}
