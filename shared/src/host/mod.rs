//! Hosts run what a service is: a router, a handler of events, or work that takes no input. They know
//! how to wait, to stop and to answer; the service knows nothing of them.
//!
//! A process runs on until it is told to stop. A function runs when it is invoked: the presence of
//! Lambda's runtime picks it.

pub mod emf;
pub mod health;
pub mod http;
pub mod intake;
mod lambda;
pub mod metrics_recorder;
pub mod process;
pub mod rate_limit;
pub mod sqs_intake;
pub mod tick;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use sqlx::migrate::Migrator;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::Verifier;
use crate::bus::queue::Queue;
use crate::bus::sqs::SqsQueue;
use crate::clock::Clock;
use crate::config::Settings;
use crate::database::{self, Database, DatabaseConfig, IamLogin, MigrationConfig, MigrationError};
use crate::id::Ids;
use crate::telemetry::{self, Telemetry, TelemetryConfig, TelemetryError};
use emf::Emf;
use health::{Health, Table};
use intake::Handler;
use lambda::Lambda;
use process::{Process, ProcessConfig};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What runs a role, and how.
#[derive(Clone, Debug)]
pub struct HostConfig {
    service: &'static str,
    role: &'static str,
    is_function: bool,
    process: ProcessConfig,
    telemetry: TelemetryConfig,
    /// Where the metrics of a function belong.
    namespace: String,
}

/// What is logged unless `RUST_LOG` says otherwise.
const FILTER: &str = "info";

/// The runtime of Lambda logs what an invocation fails with, which we have logged.
const FILTER_OF_A_FUNCTION: &str = "info,lambda_runtime::layers::panic=off";

impl HostConfig {
    /// Those of [`ProcessConfig::read`] and [`TelemetryConfig::read`], and
    /// `VITRINA_METRICS_NAMESPACE`.
    pub fn read(settings: &mut Settings, service: &'static str, role: &'static str) -> Self {
        let is_function = settings.is_function();
        let filter = if is_function { FILTER_OF_A_FUNCTION } else { FILTER };
        Self {
            service,
            role,
            is_function,
            process: ProcessConfig::read(settings),
            telemetry: TelemetryConfig::read(settings, false, filter),
            namespace: settings.or("VITRINA_METRICS_NAMESPACE", "Vitrina".to_owned()),
        }
    }

    /// Requests to these paths count for twenty others, where callers are limited.
    #[must_use]
    pub fn with_dear(mut self, paths: &'static [&'static str]) -> Self {
        self.process.rate_limit.dear = paths;
        self
    }
}

/// Work that takes no input: it looks at what is pending and moves it on.
pub trait Work: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;

    fn name(&self) -> &'static str;

    /// Works until `stop`, when nudged and every so often.
    fn run(self, nudge: Arc<Notify>, stop: CancellationToken) -> impl Future<Output = ()> + Send;

    /// Works until nothing is left to do, but not past `deadline`.
    ///
    /// # Errors
    /// When something is left that should not be.
    fn until(&self, deadline: Instant) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Where a consumer's events come from.
#[derive(Debug)]
pub enum Source {
    Table(Queue),
    Sqs(SqsQueue),
}

/// What a process or a function ended of.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("listening for signals, or for callers")]
    Io(#[from] std::io::Error),
    #[error("the runtime of Lambda ended")]
    Lambda(#[source] BoxError),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error("a function is fed from SQS: set VITRINA_QUEUE_URL and VITRINA_DEAD_LETTER_QUEUE_URL")]
    NoQueue,
}

/// What runs a role.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    clock: Clock,
    ids: Ids,
    health: Health,
    login: Option<IamLogin>,
    telemetry: Telemetry,
    pub stop: CancellationToken,
}

impl Host {
    /// Sets up the log, and listens for being told to stop. Called once, in main.
    pub fn start(config: HostConfig, clock: &Clock, ids: &Ids) -> Result<Self, HostError> {
        let telemetry = telemetry::init(&config.telemetry)?;
        let (clock, ids, health) = (clock.clone(), ids.clone(), Health::default());
        let stop = stop_on_signal()?;
        Ok(Self { config, clock, ids, health, login: None, telemetry, stop })
    }

    pub fn is_function(&self) -> bool {
        self.config.is_function
    }

    /// Cannot work without this database.
    #[must_use]
    pub fn on_database(mut self, database: &Database) -> Self {
        self.health.postgres = Some(Arc::new(database.pool.clone()));
        self.login.clone_from(&database.login);
        self
    }

    /// Cannot work without this table.
    #[must_use]
    pub fn on_table(mut self, client: &aws_sdk_dynamodb::Client, name: &str) -> Self {
        let table = Table { client: client.clone(), name: name.to_owned() };
        self.health.dynamodb = Some(Arc::new(table));
        self
    }

    /// Says how deep this queue is.
    #[must_use]
    pub fn beside(mut self, queue: Option<&Queue>) -> Self {
        self.health.queue = queue.cloned();
        self
    }

    /// Serves `api`. A process limits its callers, by the subject of the token that `verifier`
    /// accepts, else by their peer; what stands in front of a function does that.
    pub async fn serve(self, api: Router, verifier: Option<Verifier>) -> Result<(), HostError> {
        if self.is_function() {
            let api = http::dress(api, &self.clock, &self.ids);
            return Box::pin(self.lambda().serve(api)).await.map_err(HostError::Lambda);
        }
        let (process, rest) = self.process();
        process.serve(api, verifier).await?;
        rest.end();
        Ok(())
    }

    /// Does `work`.
    pub async fn work(self, work: impl Work, nudge: Arc<Notify>) -> Result<(), HostError> {
        if self.is_function() {
            return Box::pin(self.lambda().work(&work)).await.map_err(HostError::Lambda);
        }
        let stop = self.stop.clone();
        let (process, rest) = self.process();
        process.run(Box::pin(work.run(nudge, stop))).await?;
        rest.end();
        Ok(())
    }

    /// Has the events of `source` handled.
    pub async fn consume(self, source: Source, handler: &impl Handler) -> Result<(), HostError> {
        if self.is_function() {
            let Source::Sqs(queue) = source else { return Err(HostError::NoQueue) };
            return Box::pin(self.lambda().consume(queue, handler))
                .await
                .map_err(HostError::Lambda);
        }
        let (stop, clock) = (self.stop.clone(), self.clock.clone());
        let (process, rest) = self.process();
        match source {
            Source::Table(queue) => {
                let work = intake::consume(queue, clock, handler, Arc::default(), stop);
                process.run(Box::pin(work)).await?;
            }
            Source::Sqs(queue) => {
                let work = sqs_intake::consume(queue, clock, handler, stop);
                process.run(Box::pin(work)).await?;
            }
        }
        rest.end();
        Ok(())
    }

    /// Brings `schemas` up to date and ends; a function does so in each invocation.
    pub async fn migrate(
        self,
        database: &DatabaseConfig,
        migration: &MigrationConfig,
        migrators: &[&Migrator],
        schemas: &[&str],
    ) -> Result<(), HostError> {
        let step = || database::release(database, migration, migrators, schemas);
        if self.is_function() {
            return Box::pin(self.lambda().step(step)).await.map_err(HostError::Lambda);
        }
        let taken = step().await;
        self.telemetry.flush();
        Ok(taken?)
    }

    fn lambda(self) -> Lambda {
        let HostConfig { service, role, namespace, .. } = &self.config;
        Lambda {
            metrics: Emf::new(namespace, service, role, &self.clock).install(),
            clock: self.clock,
            login: self.login,
            telemetry: Arc::new(self.telemetry),
        }
    }

    fn process(self) -> (Process, Rest) {
        let Self { config, clock, ids, health, login, telemetry, stop } = self;
        let keeping = login.map(|login| tokio::spawn(login.keep(stop.clone())));
        let process = Process::new(config.process, &clock, &ids, health, &stop);
        (process, Rest { telemetry, keeping })
    }
}

/// What is left to do when a process ends.
struct Rest {
    telemetry: Telemetry,
    keeping: Option<tokio::task::JoinHandle<()>>,
}

impl Rest {
    fn end(self) {
        if let Some(keeping) = self.keeping {
            keeping.abort();
        }
        self.telemetry.flush();
    }
}

/// A token that is cancelled by the first SIGINT or SIGTERM.
pub fn stop_on_signal() -> Result<CancellationToken, std::io::Error> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}
