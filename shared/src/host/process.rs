//! One role of a service as a process of its own that runs until it is told to stop. Beside its
//! work it says how it is: `/healthz`, `/readyz` and `/metrics` on `PORT`, whatever the role.

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
    /// Every address of the machine unless said: a container has no other way to be reached.
    pub listen: SocketAddr,
    pub rate_limit: RateLimitConfig,
}

impl ProcessConfig {
    /// `PORT`, `VITRINA_BIND`, and those of [`RateLimitConfig::read`].
    pub fn read(settings: &mut Settings) -> Self {
        let address = settings.or("VITRINA_BIND", IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let port = settings.or("PORT", 8080);
        let listen = SocketAddr::new(address, port);
        Self { listen, rate_limit: RateLimitConfig::read(settings) }
    }
}

/// A process that is about to take up its role.
#[derive(Debug)]
pub struct Process {
    config: ProcessConfig,
    clock: Clock,
    ids: Ids,
    health: Health,
    stop: CancellationToken,
}

impl Process {
    /// A process that runs until `stop`, and whose health depends on `health`.
    pub fn new(
        config: ProcessConfig,
        clock: &Clock,
        ids: &Ids,
        health: Health,
        stop: &CancellationToken,
    ) -> Self {
        Self { config, clock: clock.clone(), ids: ids.clone(), health, stop: stop.clone() }
    }

    /// Serves `api`, and limits its callers: by the subject of the token that `verifier` accepts,
    /// else by their peer.
    pub async fn serve(
        self,
        api: Router,
        verifier: Option<Verifier>,
    ) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(self.config.listen).await?;
        let limit = RateLimit::new(self.config.rate_limit, verifier);
        let forgetting = tokio::spawn(limit.clone().upkeep(self.stop.clone()));
        self.listen(listener, server::limit(api, &limit)).await;
        forgetting.abort();
        Ok(())
    }

    /// Does `work`, which ends when the process is told to stop.
    ///
    /// # Errors
    /// When the port is taken; then `work` is not begun.
    pub async fn run(self, work: impl Future<Output = ()>) -> Result<(), std::io::Error> {
        let listener = TcpListener::bind(self.config.listen).await?;
        tokio::join!(work, self.listen(listener, Router::new()));
        Ok(())
    }

    async fn listen(self, listener: TcpListener, router: Router) {
        metrics_recorder::recorder();
        // Not behind the limit: who looks after the process must never be told to come later.
        let router = router.merge(Router::from(health::routes()).with_state(self.health));
        let folding = tokio::spawn(metrics_recorder::upkeep(self.stop.clone()));
        server::serve(listener, server::dress(router, &self.clock, &self.ids), self.stop).await;
        folding.abort();
    }
}
