//! Runs a service as a process until it receives a stop signal. Every process serves `/healthz`, `/readyz`
//! and `/metrics` on `PORT`, besides its own work.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::host::health::{self, Health};
use crate::host::{metrics_recorder, server};
use crate::http::auth::Verifier;
use crate::http::rate_limit::{RateLimit, RateLimitConfig};
use crate::id::Ids;

#[derive(Clone, Copy, Debug)]
pub struct ProcessConfig {
    /// Default: all interfaces, because a container cannot be reached otherwise.
    pub listen: SocketAddr,
    pub rate_limit: RateLimitConfig,
}

impl ProcessConfig {
    /// Reads `PORT`, `VITRINA_BIND`, and the settings of [`RateLimitConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let address = settings.or("VITRINA_BIND", IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let port = settings.or("PORT", 8080);
        let listen = SocketAddr::new(address, port);
        Self { listen, rate_limit: RateLimitConfig::read(settings) }
    }
}

/// A process that is about to run.
#[derive(Debug)]
pub struct Process {
    config: ProcessConfig,
    clock: Clock,
    ids: Ids,
    health: Health,
    stop: CancellationToken,
}

impl Process {
    /// A process that runs until `stop` and reports `health`.
    pub fn new(
        config: ProcessConfig,
        clock: &Clock,
        ids: &Ids,
        health: Health,
        stop: &CancellationToken,
    ) -> Self {
        Self { config, clock: clock.clone(), ids: ids.clone(), health, stop: stop.clone() }
    }

    /// Serves `api` with rate limits: per subject of a token that `verifier` accepts, otherwise per
    /// client address.
    pub async fn serve(
        self,
        api: Router,
        verifier: Option<Verifier>,
    ) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(self.config.listen).await?;
        let limit = RateLimit::new(self.config.rate_limit, verifier, &self.clock);
        let bounding = tokio::spawn(limit.clone().bound_memory(self.stop.clone()));
        self.listen(listener, server::with_rate_limit(api, &limit)).await;
        bounding.abort();
        Ok(())
    }

    /// Runs `work`, which ends when the process receives a stop signal.
    ///
    /// # Errors
    /// If the port is taken; then `work` does not start.
    pub async fn run(self, work: impl Future<Output = ()>) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(self.config.listen).await?;
        tokio::join!(work, self.listen(listener, Router::new()));
        Ok(())
    }

    async fn listen(self, listener: TcpListener, router: Router) {
        metrics_recorder::recorder();
        // Outside the rate limit: probes and scrapes must never get a 429. The merged router keeps the
        // fallback of the limited one, so that unknown paths are limited, too.
        let router = Router::from(health::routes()).with_state(self.health).merge(router);
        let folding = tokio::spawn(metrics_recorder::bound_memory(self.stop.clone()));
        server::serve(
            listener,
            server::with_standard_layers(router, &self.clock, &self.ids),
            self.stop,
        )
        .await;
        folding.abort();
    }
}
