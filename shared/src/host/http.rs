//! Serves a router until it is told to stop; requests that are under way get to end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::clock::Clock;
use crate::host::rate_limit::{self, RateLimit};
use crate::id::Ids;
use crate::request;

/// The largest body of a request that says nothing else, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a request may take to arrive and to be answered.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests that are under way get when the process stops.
const GRACE: Duration = Duration::from_secs(10);

/// Puts the layers around a router that every edition needs.
pub fn dress(router: Router, clock: &Clock, ids: &Ids) -> Router {
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(request::answer_panic))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIMEOUT))
        .layer(from_fn_with_state((clock.clone(), ids.clone()), request::track))
}

/// Refuses callers who ask too often; goes inside of [`dress`].
pub fn limit(router: Router, limit: &RateLimit) -> Router {
    router.layer(from_fn_with_state(limit.clone(), rate_limit::limit))
}

/// Serves until `stop`, then for as long as open requests take, 10 s at most.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    let listener = listener.tap_io(|stream| {
        // Without it, small answers wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    let stopped = stop.clone();
    let serving = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move { stopped.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving.into_future() => result,
        () = overdue => Ok(()),
    }
}

/// Listens on every address of the machine: a container's only way to be reached.
pub async fn bind(port: u16) -> Result<TcpListener, std::io::Error> {
    TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await
}
