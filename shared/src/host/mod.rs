//! Hosts run a service: a router, an event handler, or work that takes no input. Hosts know how to
//! wait, stop and respond; services do not know their host.
//!
//! A process runs until it receives a stop signal. A function runs when it is invoked. The presence of
//! Lambda's runtime API selects the function host.

pub mod health;
pub mod intake;
mod lambda;
pub mod metrics_recorder;
pub mod process;
pub mod server;
pub mod sqs_intake;
pub mod tick;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bus::aws::SqsQueue;
use crate::bus::postgres::Queue;
use crate::clock::Clock;
use crate::config::Settings;
use crate::database::{
    self, Database, DatabaseConfig, IamLogin, MigrationConfig, MigrationError, ServiceSchema,
};
use crate::dynamodb::Item;
use crate::http::auth::Verifier;
use crate::id::Ids;
use crate::telemetry::{self, Telemetry, TelemetryConfig, TelemetryError};
use health::{Health, Table};
use intake::Handler;
use lambda::{Lambda, emf::Emf};
use process::{Process, ProcessConfig};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a program of a service runs.
#[derive(Clone, Debug)]
pub struct HostConfig {
    service: &'static str,
    process_role: &'static str,
    is_function: bool,
    process: ProcessConfig,
    telemetry: TelemetryConfig,
    /// `CloudWatch` namespace of a function's metrics.
    namespace: String,
}

/// Default log filter; `RUST_LOG` overrides it.
const DEFAULT_FILTER: &str = "info";

/// Lambda's runtime would log a failed invocation a second time.
const FUNCTION_FILTER: &str = "info,lambda_runtime::layers::panic=off";

impl HostConfig {
    /// Reads `VITRINA_METRICS_NAMESPACE` and the settings of [`ProcessConfig::read`] and
    /// [`TelemetryConfig::read`].
    pub fn read(
        settings: &mut Settings,
        service: &'static str,
        process_role: &'static str,
    ) -> Self {
        let is_function = settings.is_function();
        let filter = if is_function { FUNCTION_FILTER } else { DEFAULT_FILTER };
        Self {
            service,
            process_role,
            is_function,
            process: ProcessConfig::read(settings),
            telemetry: TelemetryConfig::read(settings, false, filter),
            namespace: settings.or("VITRINA_METRICS_NAMESPACE", "Vitrina".to_owned()),
        }
    }

    /// Requests to these paths count as 20 against the rate limit.
    #[must_use]
    pub fn with_expensive_paths(mut self, paths: &'static [&'static str]) -> Self {
        self.process.rate_limit.expensive_paths = paths;
        self
    }
}

/// Work that takes no input: it looks for pending work and advances it.
pub trait Work: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;

    fn name(&self) -> &'static str;

    /// Works until `stop`, when nudged and once per interval.
    fn run(self, nudge: Arc<Notify>, stop: CancellationToken) -> impl Future<Output = ()> + Send;

    /// Works until nothing is pending, but not past `deadline`.
    ///
    /// # Errors
    /// If work is left over that should have been done.
    fn until(&self, deadline: Instant) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The queue that a consumer reads.
#[derive(Debug)]
pub enum Source {
    Table(Queue),
    Sqs(SqsQueue),
}

/// Why a process or function stopped.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("listening for signals or connections")]
    Io(#[from] std::io::Error),
    #[error("Lambda's runtime stopped")]
    Lambda(#[source] BoxError),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error("a function reads from SQS: set VITRINA_QUEUE_URL and VITRINA_DEAD_LETTER_QUEUE_URL")]
    NoQueue,
}

/// Runs one program of a service.
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
    /// Sets up telemetry and signal handling. Called once, in main.
    pub fn start(config: HostConfig, clock: &Clock, ids: &Ids) -> Result<Self, HostError> {
        let telemetry = telemetry::init(&config.telemetry)?;
        let (clock, ids, health) = (clock.clone(), ids.clone(), Health::default());
        let stop = stop_on_signal()?;
        Ok(Self { config, clock, ids, health, login: None, telemetry, stop })
    }

    pub fn is_function(&self) -> bool {
        self.config.is_function
    }

    /// Makes readiness depend on this database.
    #[must_use]
    pub fn with_database(mut self, database: &Database) -> Self {
        self.health.postgres = Some(Arc::new(database.pool.clone()));
        self.login.clone_from(&database.login);
        self
    }

    /// Makes readiness depend on this table: a read of `probe`.
    #[must_use]
    pub fn with_table(
        mut self,
        client: &aws_sdk_dynamodb::Client,
        name: &str,
        probe: Item,
    ) -> Self {
        let table = Table { client: client.clone(), name: name.to_owned(), probe };
        self.health.dynamodb = Some(Arc::new(table));
        self
    }

    /// Reports the depth of these queues as metrics.
    #[must_use]
    pub fn with_queues(mut self, queues: impl IntoIterator<Item = Queue>) -> Self {
        self.health.queues.extend(queues);
        self
    }

    /// Serves `api`. A process applies rate limits per subject of a token that `verifier` accepts,
    /// otherwise per client address. In front of a function, API Gateway does that.
    pub async fn serve(self, api: Router, verifier: Option<Verifier>) -> Result<(), HostError> {
        if self.is_function() {
            let api = server::with_standard_layers(api, &self.clock, &self.ids);
            return Box::pin(self.lambda().serve(api)).await.map_err(HostError::Lambda);
        }
        let (process, teardown) = self.process();
        process.serve(api, verifier).await?;
        teardown.run();
        Ok(())
    }

    /// Runs `work`.
    pub async fn work(self, work: impl Work, nudge: Arc<Notify>) -> Result<(), HostError> {
        if self.is_function() {
            return Box::pin(self.lambda().work(&work)).await.map_err(HostError::Lambda);
        }
        let stop = self.stop.clone();
        let (process, teardown) = self.process();
        process.run(Box::pin(work.run(nudge, stop))).await?;
        teardown.run();
        Ok(())
    }

    /// Passes the events of `source` to `handler`.
    pub async fn consume(self, source: Source, handler: &impl Handler) -> Result<(), HostError> {
        if self.is_function() {
            let Source::Sqs(queue) = source else { return Err(HostError::NoQueue) };
            return Box::pin(self.lambda().consume(queue, handler))
                .await
                .map_err(HostError::Lambda);
        }
        let (stop, clock) = (self.stop.clone(), self.clock.clone());
        let (process, teardown) = self.process();
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
        teardown.run();
        Ok(())
    }

    /// Takes the release step of `service` and returns; a function does so in each invocation.
    pub async fn migrate(
        self,
        database: &DatabaseConfig,
        migration: &MigrationConfig,
        service: &ServiceSchema,
    ) -> Result<(), HostError> {
        let step = || database::release(database, migration, service);
        if self.is_function() {
            return Box::pin(self.lambda().step(step)).await.map_err(HostError::Lambda);
        }
        let taken = step().await;
        self.telemetry.flush();
        Ok(taken?)
    }

    fn lambda(self) -> Lambda {
        let HostConfig { service, process_role, namespace, .. } = &self.config;
        Lambda {
            metrics: Emf::new(namespace, service, process_role, &self.clock).install(),
            clock: self.clock,
            login: self.login,
            telemetry: Arc::new(self.telemetry),
        }
    }

    fn process(self) -> (Process, Teardown) {
        let Self { config, clock, ids, health, login, telemetry, stop } = self;
        let keeping = login.map(|login| tokio::spawn(login.keep(stop.clone())));
        let process = Process::new(config.process, &clock, &ids, health, &stop);
        (process, Teardown { telemetry, keeping })
    }
}

/// Steps left when a process ends.
struct Teardown {
    telemetry: Telemetry,
    keeping: Option<tokio::task::JoinHandle<()>>,
}

impl Teardown {
    fn run(self) {
        if let Some(keeping) = self.keeping {
            keeping.abort();
        }
        self.telemetry.flush();
    }
}

/// Returns a token that is cancelled by the first SIGINT or SIGTERM.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_config::{Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use chrono::DateTime;
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    use super::*;

    /// A database with a log-in by IAM whose token has not been made yet. It does not exist.
    pub(super) fn database() -> (Database, Clock) {
        let clock = Clock::fixed(DateTime::from_timestamp(1_724_709_600, 0).unwrap());
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1);
        let credentials = Credentials::new("akid", "secret", None, None, "test");
        let environment = SdkConfig::builder()
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let pool = PgPoolOptions::new().connect_lazy_with(options.clone());
        let login = IamLogin::new(&environment, pool.clone(), options, &clock).unwrap();
        (Database { pool, login: Some(login) }, clock)
    }

    /// The time of the token with which the pool connects.
    pub(super) fn token_time(database: &Database) -> Option<String> {
        // The password has no getter; the debug output contains it.
        let options = format!("{:?}", database.pool.connect_options());
        options.split("X-Amz-Date=").nth(1).map(|rest| rest.chars().take(16).collect())
    }

    fn host(database: &Database, clock: &Clock) -> Host {
        let host = Host {
            config: HostConfig::read(&mut Settings::from_pairs([] as [(&str, &str); 0]), "a", "b"),
            clock: clock.clone(),
            ids: Ids::seeded(1),
            health: Health::default(),
            login: None,
            telemetry: Telemetry::default(),
            stop: CancellationToken::new(),
        };
        host.with_database(database)
    }

    #[tokio::test(start_paused = true)]
    async fn process_renews_the_token_of_its_database_until_it_ends() {
        let (database, clock) = database();
        let (_process, teardown) = host(&database, &clock).process();
        for time in ["20240826T220000Z", "20240826T221000Z", "20240826T222000Z"] {
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(token_time(&database).as_deref(), Some(time));
            clock.advance(Duration::from_mins(10));
        }
        teardown.run();
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(token_time(&database).as_deref(), Some("20240826T222000Z"));
    }
}
