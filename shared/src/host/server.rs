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

/// Timeouts of one connection.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    headers: Duration,
    write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { headers: HEADER_TIMEOUT, write: WRITE_TIMEOUT }
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
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const HANG_LIMIT: Duration = Duration::from_secs(20);

    const PATH: &str = "/slow";

    const LONG: &str = "/long";

    /// More than the buffers of two sockets hold.
    const LENGTH: usize = 32 * 1024 * 1024;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        serving: JoinHandle<()>,
    }

    async fn start(timeouts: Timeouts) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let router = Router::new()
            .route(PATH, axum::routing::get(slow))
            .route(LONG, axum::routing::get(async || vec![b'x'; LENGTH]));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_within(listener, router, stop.clone(), 8, timeouts));
        Server { address, stop, serving }
    }

    #[tokio::test]
    async fn endless_request_head_times_out() {
        let headers = Duration::from_millis(50);
        let server = start(Timeouts { headers, ..Timeouts::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let mut response = Vec::new();
        timeout(HANG_LIMIT, stream.read_to_end(&mut response)).await.expect("it hangs").unwrap();
        server.stop.cancel();
    }

    #[tokio::test]
    async fn client_that_reads_nothing_is_disconnected() {
        let write = Duration::from_millis(50);
        let server = start(Timeouts { write, ..Timeouts::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // The response has begun.
        stream.peek(&mut [0]).await.unwrap();
        server.stop.cancel();
        // An open connection would delay the shutdown until the grace period is over.
        timeout(GRACE / 2, server.serving).await.expect("the server waits for the client").unwrap();
    }

    #[tokio::test]
    async fn slow_client_receives_the_whole_response() {
        let write = Duration::from_secs(1);
        let server = start(Timeouts { write, ..Timeouts::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let (mut read, mut buffer) = (0, vec![0; LENGTH / 16]);
        loop {
            // In total longer than the write timeout.
            tokio::time::sleep(Duration::from_millis(100)).await;
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                more => read += more,
            }
        }
        assert!(read > LENGTH, "{read}");
        server.stop.cancel();
    }

    #[tokio::test]
    async fn request_in_flight_gets_its_response_before_shutdown() {
        let server = start(Timeouts::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.cancel();
        let mut response = String::new();
        timeout(HANG_LIMIT, stream.read_to_string(&mut response)).await.expect("it hangs").unwrap();
        assert!(response.ends_with("done"), "{response}");
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
