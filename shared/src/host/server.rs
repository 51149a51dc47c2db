//! Serves a router until it receives a stop signal, then lets requests in flight finish.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustix::process::Resource;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::clock::Clock;
use crate::http::rate_limit::{self, RateLimit};
use crate::http::request;
use crate::id::Ids;
use crate::telemetry::causes;

/// Timeout of a request. The timeout of its body is shorter.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Timeout for the head of a request to arrive, which bounds an idle connection too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may accept no bytes of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of concurrent connections; further ones wait to be accepted.
const MAX_CONNECTIONS: u64 = 8_192;

/// Pause after a failure to accept a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(200);

/// How long requests in flight may take to finish when the process stops.
const GRACE: Duration = Duration::from_secs(10);

/// Adds the layers that every edition needs: panics, timeouts and request tracking.
pub fn with_standard_layers(router: Router, clock: &Clock, ids: &Ids) -> Router {
    router
        .layer(CatchPanicLayer::custom(request::panic_response))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(from_fn_with_state((clock.clone(), ids.clone()), request::track))
}

/// Adds rate limiting. Apply before [`with_standard_layers`].
pub fn with_rate_limit(router: Router, limit: &RateLimit) -> Router {
    router.layer(from_fn_with_state(limit.clone(), rate_limit::limit))
}

#[derive(Clone, Copy, Debug)]
struct Timeouts {
    headers: Duration,
    write: Duration,
    grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { headers: HEADER_TIMEOUT, write: WRITE_TIMEOUT, grace: GRACE }
    }
}

/// Serves until `stop`, then waits up to 10 s for requests in flight.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let capacity = capacity(raise_file_limit());
    serve_within(listener, router, stop, capacity, Timeouts::default()).await;
}

/// Number of concurrent connections for a limit of `files` open files.
///
/// A request needs up to three more files: a pooled connection and, in the local edition, both ends
/// of a connection to the listings. Clients must not exhaust what the process itself needs.
fn capacity(files: Option<u64>) -> usize {
    let capacity = files.map_or(MAX_CONNECTIONS, |files| (files / 4).clamp(1, MAX_CONNECTIONS));
    usize::try_from(capacity).unwrap_or(usize::MAX)
}

/// Raises the soft limit of open files as far as needed and allowed, and returns it.
fn raise_file_limit() -> Option<u64> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let enough = MAX_CONNECTIONS * 4;
    let wanted = limit.maximum.map_or(enough, |most| most.min(enough));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
            tracing::warn!(error = causes(&error), "the limit of open files could not be raised");
        }
    }
    rustix::process::getrlimit(Resource::Nofile).current
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    capacity: usize,
    timeouts: Timeouts,
) {
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(capacity));
    loop {
        let accept = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            listener.accept().await.map(|accepted| (accepted, permit))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok(((stream, peer), permit)) => {
                // Otherwise small responses wait for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let watcher = connections.watcher();
                let connection = serve_connection(stream, peer, router.clone(), timeouts, watcher);
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            // The peer closed the connection before it was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Most likely no file descriptors are left; closing connections frees some.
                tracing::error!(error = causes(&error), "accepting a connection failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(timeouts.grace, connections.shutdown()).await;
}

/// Serves the requests of one connection.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    timeouts: Timeouts,
    watcher: Watcher,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeouts.write));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.headers)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        // Caused by the peer: it sent no HTTP, was too slow, or left.
        tracing::debug!(error = causes(&error), "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use testkit::{Gate, NO_TIMEOUT, eventually, within};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    const PATIENT: Timeouts =
        Timeouts { headers: NO_TIMEOUT, write: NO_TIMEOUT, grace: NO_TIMEOUT };

    /// More than the buffers of two sockets hold.
    const LENGTH: usize = 32 * 1024 * 1024;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        serving: JoinHandle<()>,
        /// Holds the requests to `/held`.
        gate: Arc<Gate>,
    }

    async fn start(timeouts: Timeouts) -> Server {
        start_with(8, timeouts).await
    }

    async fn start_with(capacity: usize, timeouts: Timeouts) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let holding = Arc::clone(&gate);
        let held = async move || {
            holding.pass().await;
            "done"
        };
        let router = Router::new()
            .route("/held", axum::routing::get(held))
            .route("/long", axum::routing::get(async || vec![b'x'; LENGTH]));
        let stop = CancellationToken::new();
        let serving =
            tokio::spawn(serve_within(listener, router, stop.clone(), capacity, timeouts));
        Server { address, stop, serving, gate }
    }

    /// Connects and sends this.
    async fn send(server: &Server, sent: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn endless_request_head_times_out() {
        let headers = Duration::from_millis(50);
        let server = start(Timeouts { headers, ..PATIENT }).await;
        let mut stream = send(&server, b"GET /held HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
        let mut response = Vec::new();
        within("the end of the connection", stream.read_to_end(&mut response)).await.unwrap();
        server.stop.cancel();
    }

    #[tokio::test]
    async fn client_that_reads_nothing_is_disconnected() {
        let write = Duration::from_millis(50);
        let server = start(Timeouts { write, ..PATIENT }).await;
        let stream = send(&server, b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // The response has begun.
        stream.peek(&mut [0]).await.unwrap();
        server.stop.cancel();
        // An open connection would delay the shutdown until the grace period is over.
        within("the shutdown", server.serving).await.unwrap();
    }

    #[tokio::test]
    async fn response_may_take_longer_than_a_write() {
        let write = Duration::from_millis(50);
        let server = start(Timeouts { write, ..PATIENT }).await;
        let stream = send(&server, HELD).await;
        server.gate.entered().await;
        // Real time: a slow machine makes the request take still longer.
        tokio::time::sleep(write * 10).await;
        server.gate.open();
        assert_done(stream).await;
        server.stop.cancel();
    }

    /// Reads the long response with pauses that are together twice the write timeout. Returns the
    /// number of bytes before the connection ended.
    async fn read_slowly(write: Duration) -> usize {
        let server = start(Timeouts { write, ..PATIENT }).await;
        let request = b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let mut stream = send(&server, request).await;
        let (mut read, mut buffer) = (0, vec![0; LENGTH / 16]);
        loop {
            // Real time: the caller takes a longer timeout if a slow machine exceeds this one.
            tokio::time::sleep(write / 8).await;
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more,
            }
        }
        server.stop.cancel();
        read
    }

    #[tokio::test]
    async fn slow_client_receives_the_whole_response() {
        let mut write = Duration::from_millis(400);
        while read_slowly(write).await <= LENGTH {
            // On a busy machine, a single pause may take longer than that.
            assert!(write < Duration::from_secs(10), "the timeout is one of the whole response");
            write *= 2;
        }
    }

    #[tokio::test]
    async fn request_in_flight_gets_its_response_before_shutdown() {
        let server = start(PATIENT).await;
        let mut stream = send(&server, b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        server.gate.entered().await;
        server.stop.cancel();
        eventually("the shutdown", async || TcpStream::connect(server.address).await.err()).await;
        assert!(!server.serving.is_finished());
        server.gate.open();
        let mut response = String::new();
        within("the response", stream.read_to_string(&mut response)).await.unwrap();
        assert!(response.ends_with("done"), "{response}");
        within("the shutdown", server.serving).await.unwrap();
    }

    #[tokio::test]
    async fn request_that_never_ends_is_dropped_after_the_grace() {
        let grace = Duration::from_millis(50);
        let server = start(Timeouts { grace, ..PATIENT }).await;
        let _stream = send(&server, b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        server.gate.entered().await;
        server.stop.cancel();
        within("the shutdown", server.serving).await.unwrap();
    }

    const HELD: &[u8] = b"GET /held HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    async fn assert_done(mut stream: TcpStream) {
        let mut response = String::new();
        within("the response", stream.read_to_string(&mut response)).await.unwrap();
        assert!(response.ends_with("done"), "{response}");
    }

    #[tokio::test]
    async fn closed_connection_makes_room_for_another() {
        let server = start_with(2, PATIENT).await;
        server.gate.open();
        for _ in 0..5 {
            assert_done(send(&server, HELD).await).await;
        }
        server.stop.cancel();
    }

    #[tokio::test]
    async fn connection_beyond_the_capacity_waits_for_another_to_close() {
        let server = start_with(2, PATIENT).await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            streams.push(send(&server, HELD).await);
            server.gate.entered().await;
        }
        streams.push(send(&server, HELD).await);
        // Enough turns for the server to accept a connection and read a request.
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert!(server.gate.entered().now_or_never().is_none(), "three requests at once");
        server.gate.open();
        for stream in streams {
            assert_done(stream).await;
        }
        server.stop.cancel();
    }

    #[test]
    fn file_limit_is_raised_as_far_as_needed() {
        let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let raised = raise_file_limit().unwrap_or(u64::MAX);
        assert!(raised >= most.min(MAX_CONNECTIONS * 4), "{raised} of {most}");
    }

    #[test]
    fn capacity_leaves_files_for_the_process() {
        assert_eq!(capacity(Some(1_024)), 256);
        assert_eq!(capacity(Some(1 << 20)), 8_192);
        assert_eq!(capacity(None), 8_192);
        assert_eq!(capacity(Some(2)), 1);
    }
}
