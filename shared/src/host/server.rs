//! Serves a router until it is told to stop; requests that are under way get to end.

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

/// How long a request may take to be answered. Its body has less time to arrive.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the head of a request may take to arrive, and a connection may wait for its next one.
const HEADERS: Duration = Duration::from_secs(30);

/// For how long a reader may take nothing of what it asked for.
const READER: Duration = Duration::from_secs(30);

/// The most connections that are served at once; the next wait to be accepted.
const MAX_CONNECTIONS: u64 = 8_192;

/// How long to wait where connections cannot be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How long requests that are under way get when the process stops.
const GRACE: Duration = Duration::from_secs(10);

/// Puts the layers around a router that every edition needs.
pub fn dress(router: Router, clock: &Clock, ids: &Ids) -> Router {
    router
        .layer(CatchPanicLayer::custom(request::answer_panic))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .layer(from_fn_with_state((clock.clone(), ids.clone()), request::track))
}

/// Refuses callers who ask too often; goes inside of [`dress`].
pub fn limit(router: Router, limit: &RateLimit) -> Router {
    router.layer(from_fn_with_state(limit.clone(), rate_limit::limit))
}

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    headers: Duration,
    reader: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { headers: HEADERS, reader: READER }
    }
}

/// Serves until `stop`, then for as long as open requests take, 10 s at most.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = places(raise_file_limit());
    serve_within(listener, router, stop, places, Patience::default()).await;
}

/// How many connections are served at once where the process may have so many files open. A request
/// takes up to three more: one of a pool, and in the local edition both ends of one to the listings.
/// Who connects must not take what the process itself needs.
fn places(files: Option<u64>) -> usize {
    let places = files.map_or(MAX_CONNECTIONS, |files| (files / 4).clamp(1, MAX_CONNECTIONS));
    usize::try_from(places).unwrap_or(usize::MAX)
}

/// Lets the process have as many files open as it may, which is often far more than it begins with,
/// and returns how many that is.
fn raise_file_limit() -> Option<u64> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let enough = MAX_CONNECTIONS * 4;
    let wanted = limit.maximum.map_or(enough, |most| most.min(enough));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
            tracing::warn!(error = causes(&error), "no more files may be open than at the start");
        }
    }
    rustix::process::getrlimit(Resource::Nofile).current
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    places: usize,
    patience: Patience,
) {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(places));
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            listener.accept().await.map(|accepted| (accepted, place))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok(((stream, peer), place)) => {
                // Without it, small answers wait for the peer's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let watcher = connections.watcher();
                let conversation = converse(stream, peer, router.clone(), patience, watcher);
                tokio::spawn(async move {
                    conversation.await;
                    drop(place);
                });
            }
            // The peer went away while it waited.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Most likely there are no file descriptors left; connections that end free some.
                tracing::error!(error = causes(&error), "accepting a connection failed");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
}

/// Answers the requests of one connection.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    watcher: Watcher,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience.reader));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        // The peer's doing: it sent no HTTP, was too slow, or left.
        tracing::debug!(error = causes(&error), "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    const PATH: &str = "/slow";

    const LONG: &str = "/long";

    /// More than what lies in the buffers of two sockets.
    const LENGTH: usize = 32 * 1024 * 1024;

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        serving: JoinHandle<()>,
    }

    async fn start(patience: Patience) -> Server {
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
        let serving = tokio::spawn(serve_within(listener, router, stop.clone(), 8, patience));
        Server { address, stop, serving }
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let headers = Duration::from_millis(50);
        let server = start(Patience { headers, ..Patience::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it hangs").unwrap();
        server.stop.cancel();
    }

    #[tokio::test]
    async fn a_reader_who_takes_nothing_of_the_answer_is_not_waited_for() {
        let reader = Duration::from_millis(50);
        let server = start(Patience { reader, ..Patience::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // The answer has begun.
        stream.peek(&mut [0]).await.unwrap();
        server.stop.cancel();
        // A conversation that goes on would be waited for until the grace is over.
        timeout(GRACE / 2, server.serving).await.expect("it waits for the reader").unwrap();
    }

    #[tokio::test]
    async fn a_reader_who_takes_the_answer_slowly_gets_all_of_it() {
        let reader = Duration::from_secs(1);
        let server = start(Patience { reader, ..Patience::default() }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let (mut read, mut buffer) = (0, vec![0; LENGTH / 16]);
        loop {
            // All in all longer than a reader is waited for who takes nothing.
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
    async fn a_request_that_is_under_way_is_answered_before_the_process_stops() {
        let server = start(Patience::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.cancel();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it hangs").unwrap();
        assert!(answer.ends_with("done"), "{answer}");
    }

    #[test]
    fn the_process_has_as_many_files_as_it_may_and_needs() {
        let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let raised = raise_file_limit().unwrap_or(u64::MAX);
        assert!(raised >= most.min(MAX_CONNECTIONS * 4), "{raised} of {most}");
    }

    #[test]
    fn callers_leave_the_process_the_files_that_it_needs() {
        assert_eq!(places(Some(1_024)), 256);
        assert_eq!(places(Some(1 << 20)), 8_192);
        assert_eq!(places(None), 8_192);
        assert_eq!(places(Some(2)), 1);
    }
}
