//! The closed loop and the open loop.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::connection::Connection;
use super::number::{Latencies, figure};

/// Writes the request with the given number into an empty buffer.
pub type WriteRequest = dyn Fn(u64, &mut Vec<u8>) + Send + Sync;

/// Receives the number and the body of every expected response, in the thread of the load.
pub type Observe = dyn Fn(u64, &[u8]) + Send + Sync;

/// A load of requests of one kind.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub duration: Duration,
    /// The expected status. Other responses are counted separately.
    pub status: u16,
    pub request: Arc<WriteRequest>,
    pub observe: Option<Arc<Observe>>,
}

/// The measurements of a load.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Responses with the expected status.
    pub responses: u64,
    /// Other responses.
    pub refused: u64,
    pub refusal: Option<u16>,
    pub took: Duration,
    pub latencies: Latencies,
}

/// Sends the next request on each connection as soon as it has a response.
pub async fn closed_loop(load: &Load) -> anyhow::Result<Seen> {
    generate(load.clone(), None).await
}

/// Sends `rate` requests a second, however late responses arrive.
pub async fn open_loop(load: &Load, rate: f64) -> anyhow::Result<Seen> {
    generate(load.clone(), Some(rate)).await
}

/// Runs in a thread of its own: other work of this process must not delay a request.
async fn generate(load: Load, rate: Option<f64>) -> anyhow::Result<Seen> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, run(load, rate))
    };
    tokio::task::spawn_blocking(work).await?.context("a load failed")
}

async fn run(load: Load, rate: Option<f64>) -> io::Result<Seen> {
    let load = Rc::new(load);
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        connections.push(Connection::open(load.address).await?);
    }
    let begun = Instant::now();
    let next = Rc::new(Cell::new(0_u64));
    let mut workers = Vec::with_capacity(connections.len());
    for connection in connections {
        let worker = Worker { load: Rc::clone(&load), connection, begun, next: Rc::clone(&next) };
        workers.push(tokio::task::spawn_local(worker.run(rate)));
    }
    let mut total = Seen {
        responses: 0,
        refused: 0,
        refusal: None,
        took: load.duration,
        latencies: Latencies::new(),
    };
    for worker in workers {
        let seen = worker.await.map_err(io::Error::other)??;
        total.responses += seen.responses;
        total.refused += seen.refused;
        total.refusal = total.refusal.or(seen.refusal);
        total.latencies.add(&seen.latencies);
    }
    Ok(total)
}

/// The sender on one connection.
struct Worker {
    load: Rc<Load>,
    connection: Connection,
    begun: Instant,
    /// The number of the next request, shared by all connections.
    next: Rc<Cell<u64>>,
}

impl Worker {
    async fn run(mut self, rate: Option<f64>) -> io::Result<Seen> {
        let end = self.begun + self.load.duration;
        let mut seen = Seen {
            responses: 0,
            refused: 0,
            refusal: None,
            took: self.load.duration,
            latencies: Latencies::new(),
        };
        loop {
            let number = self.next.get();
            self.next.set(number + 1);
            let scheduled = match rate {
                None => Instant::now(),
                Some(rate) => {
                    let scheduled = self.begun + Duration::from_secs_f64(figure(number) / rate);
                    tokio::time::sleep_until(scheduled.min(end)).await;
                    scheduled
                }
            };
            if scheduled >= end {
                return Ok(seen);
            }
            self.connection.request.clear();
            (self.load.request)(number, &mut self.connection.request);
            let status = self.connection.call().await?;
            let now = Instant::now();
            // A closed loop counts the responses that arrive in time. An open loop counts every
            // response: leaving out the late ones would hide the worst latencies.
            if rate.is_none() && now >= end {
                return Ok(seen);
            }
            if status == self.load.status {
                seen.responses += 1;
                seen.latencies.record(now - scheduled);
                if let Some(observe) = &self.load.observe {
                    Arc::clone(observe)(number, self.connection.body());
                }
            } else {
                seen.refused += 1;
                seen.refusal = Some(status);
            }
        }
    }
}
