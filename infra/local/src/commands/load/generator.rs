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

/// When a request of an open loop is due, after the start.
fn due(number: u64, rate: f64) -> Duration {
    Duration::from_secs_f64(figure(number) / rate)
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
                    let scheduled = self.begun + due(number, rate);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn requests_are_due_at_even_intervals() {
        let due = |number| due(number, 50.0).as_millis();
        assert_eq!([due(0), due(1), due(2), due(50), due(99)], [0, 20, 40, 1_000, 1_980]);
    }

    /// Responds to the first request of each connection after `hold`, and to each other one at once.
    async fn server(hold: Duration) -> SocketAddr {
        refusing(hold, u32::MAX).await
    }

    /// As [`server`], and refuses every `nth` request of a connection.
    async fn refusing(hold: Duration, nth: u32) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut buffer, mut hold, mut requests) = ([0; 1024], Some(hold), 0_u32);
                    while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                        // Real time: the generator has a runtime of its own.
                        tokio::time::sleep(hold.take().unwrap_or_default()).await;
                        requests += 1;
                        let status =
                            if requests.is_multiple_of(nth) { "503 Busy" } else { "200 OK" };
                        let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                        stream.write_all(response.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn open_loop_sends_no_request_before_it_is_due() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        // Real time: a slow machine sends later, never earlier.
        let begun = Instant::now();
        let request = {
            let sent = Arc::clone(&sent);
            move |number: u64, buffer: &mut Vec<u8>| {
                sent.lock().unwrap().push((number, begun.elapsed()));
                super::super::get("/", buffer);
            }
        };
        let load = Load {
            address: server(Duration::ZERO).await,
            connections: 4,
            duration: Duration::from_millis(500),
            status: 200,
            request: Arc::new(request),
            observe: None,
        };
        let seen = open_loop(&load, 20.0).await.unwrap();
        assert_eq!((seen.responses, seen.refused), (10, 0));
        let sent = sent.lock().unwrap();
        assert_eq!(sent.len(), 10);
        for (number, at) in &*sent {
            assert!(*at >= due(*number, 20.0), "request {number} was sent after {at:?}");
        }
    }

    #[tokio::test]
    async fn latency_of_an_open_loop_begins_when_its_request_is_due() {
        let duration = Duration::from_millis(500);
        let load = Load {
            address: server(duration).await,
            connections: 1,
            duration,
            status: 200,
            request: Arc::new(|_, buffer: &mut Vec<u8>| super::super::get("/", buffer)),
            observe: None,
        };
        let seen = open_loop(&load, 20.0).await.unwrap();
        assert_eq!((seen.responses, seen.latencies.count()), (10, 10));
        // The last request was due 50 ms before the connection was free, the first one at the start.
        let [shortest, longest] = [0.0, 1.0].map(|part| seen.latencies.quantile(part));
        assert!(shortest >= 50.0 && longest >= 500.0, "{shortest} to {longest} ms");
    }

    #[tokio::test]
    async fn response_of_another_status_is_refused_and_has_no_latency() {
        let load = Load {
            address: refusing(Duration::ZERO, 2).await,
            connections: 1,
            duration: Duration::from_millis(200),
            status: 200,
            request: Arc::new(|_, buffer: &mut Vec<u8>| super::super::get("/", buffer)),
            observe: None,
        };
        let seen = open_loop(&load, 50.0).await.unwrap();
        assert_eq!((seen.responses, seen.refused, seen.refusal), (5, 5, Some(503)));
        assert_eq!(seen.latencies.count(), 5);
    }
}
