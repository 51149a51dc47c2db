//! One process that is all of Vitrina: its stores, its services and its listener, from start to
//! stop.

pub mod data_folder;
pub mod database;
pub mod dynamodb_server;
pub mod parts;
pub mod port;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use identity::config::ProviderConfig;
use identity::demo::{self, DemoUser};
use shared::bus;
use shared::bus::postgres::{Queue, Queues};
use shared::clock::Clock;
use shared::config::Secret;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::database::{self as connections, DatabaseConfig};
use shared::host::health::{self, Health, Table};
use shared::host::metrics_recorder;
use shared::http::auth::{AuthConfig, KeySource, Verifier};
use shared::http::rate_limit::{RateLimit, RateLimitConfig};
use shared::id::Ids;
use shared::money::Currency;
use shared::{dynamodb, host};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::docs;
use data_folder::{Account, Claim, DataError, DataFolder, Running};
use database::{Database, DatabaseError, Source};
use dynamodb_server::{DynamoDbServer, DynamoDbServerError};
use parts::identity::AUDIENCE;
use parts::{Context, EXPENSIVE_PATHS, Parts, SERVICES, ServiceError};
use port::PortError;

pub use parts::catalog::TABLE;
pub use parts::identity::ISSUER;

/// Connections of the background work, which requests must not starve.
const BACKGROUND_CONNECTIONS: u32 = 8;

/// How to start an edition.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub parts: Parts,
    pub database: Source,
    /// An identity provider in place of the embedded one.
    pub auth: Option<AuthConfig>,
    pub currency: Currency,
    pub rate_limit: RateLimitConfig,
    /// Connections to PostgreSQL for requests.
    pub connections: u32,
}

/// Why an edition does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("connecting to PostgreSQL")]
    Connect(#[source] sqlx::Error),
    #[error("bringing the schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbServerError),
    #[error(transparent)]
    Identity(#[from] identity::StartError),
    #[error("creating the demo users")]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A running edition.
#[derive(Debug)]
pub struct Edition {
    pub url: String,
    pub database: String,
    pub folder: DataFolder,
    pub demo_users: Vec<DemoUser>,
    work: JoinSet<()>,
    stop: CancellationToken,
    stores: Stores,
    _claim: Claim,
}

/// The stores of the services. They stop after them.
#[derive(Debug)]
struct Stores {
    database: Database,
    dynamodb: DynamoDbServer,
}

impl Edition {
    /// Starts everything, the listener last, so that no request meets a half-started service.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        // First, since a taken port is the most likely reason not to start.
        let listener = port::listen(options.listen).await?;
        let claim = DataFolder::at(&options.data)?.claim()?;
        let folder = claim.folder().clone();
        let password = folder.demo_password()?;
        let url = url_of(&listener, options.listen);
        let listings = folder.listings();
        let (database, dynamodb) = tokio::join!(
            Database::start(&options.database, &folder),
            DynamoDbServer::start(&listings),
        );
        let stores = Stores { database: database?, dynamodb: dynamodb? };
        let database = stores.database.description.clone();
        let stop = CancellationToken::new();
        let started = run(&options, &folder, &password, &stores, listener, &stop).await;
        let (work, demo_users) = match started {
            Ok(started) => started,
            Err(error) => {
                stores.stop().await;
                return Err(error);
            }
        };
        let announced = claim.announce(&Running {
            pid: std::process::id(),
            url: url.clone(),
            dynamodb: stores.dynamodb.endpoint.clone(),
            currency: options.currency,
            parts: options.parts.clone(),
            demo_users: demo_users.iter().map(account).collect(),
        });
        if let Err(error) = announced {
            stop.cancel();
            work.join_all().await;
            stores.stop().await;
            return Err(error.into());
        }
        Ok(Self { url, database, folder, demo_users, work, stop, stores, _claim: claim })
    }

    /// Stops taking requests, drains the open ones and then stops the stores.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
        self.stores.stop().await;
    }

    /// Returns when background work ends by itself: the process should then end, too.
    pub async fn failed(&mut self) {
        self.work.join_next().await;
    }
}

impl Stores {
    async fn stop(self) {
        self.dynamodb.stop().await;
        if let Err(error) = self.database.stop().await {
            tracing::error!(error = shared::telemetry::causes(&error), "PostgreSQL did not stop");
        }
    }
}

fn account(DemoUser { email, user, .. }: &DemoUser) -> Account {
    Account { email: (*email).to_owned(), id: user.id, roles: user.roles.clone() }
}

/// The URL of a listener, for clients on this machine.
fn url_of(listener: &TcpListener, requested: SocketAddr) -> String {
    let address = listener.local_addr().unwrap_or(requested);
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Starts the services and serves their routes. Also returns the demo users.
async fn run(
    options: &Options,
    folder: &DataFolder,
    password: &Secret<String>,
    stores: &Stores,
    listener: TcpListener,
    stop: &CancellationToken,
) -> Result<(JoinSet<()>, Vec<DemoUser>), StartError> {
    let (clock, ids) = (Clock::System, Ids::System);
    let requests = pool(&stores.database.url, options.connections, "vitrina requests")?;
    let background = pool(&stores.database.url, BACKGROUND_CONNECTIONS, "vitrina background")?;
    let mut migrators = vec![&bus::MIGRATOR];
    migrators.extend(SERVICES.iter().filter_map(|service| service.migrator));
    connections::migrate(&stores.database.url, &migrators).await?;

    let provider = ProviderConfig {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        key_file: folder.signing_key(),
        mail_directory: folder.mail(),
    };
    let identity = identity::App::new(&provider, requests.clone(), clock.clone(), ids.clone())?;
    let demo_users = demo::ensure_users(&identity, password).await?;
    let auth = options.auth.clone().unwrap_or_else(|| AuthConfig {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys: KeySource::Fixed(identity.issuer.jwks()),
        roles_claim: "roles".to_owned(),
    });
    let context = Context {
        parts: options.parts.to_vec(),
        requests,
        dynamodb: dynamodb::connect_local(&stores.dynamodb.endpoint),
        queue: Queue::new(background.clone(), clock.clone(), CATALOG_QUEUE),
        background,
        published: Arc::new(Notify::new()),
        is_database_private: stores.database.is_private(),
        identity,
        verifier: Verifier::new(auth, clock.clone()),
        currency: options.currency,
        clock,
        ids,
        stop: stop.clone(),
    };

    let mut work = JoinSet::new();
    let mut api = OpenApiRouter::new();
    for service in SERVICES {
        api = api.merge((service.start)(&context, &mut work).await?);
    }
    let (router, routes) = api.split_for_parts();
    let (health, mut document) = health_routes(&context).split_for_parts();
    document.merge(routes);
    let router = router.merge(docs::router(docs::describe(document)));
    let limit = RateLimitConfig { expensive_paths: &EXPENSIVE_PATHS, ..options.rate_limit };
    let limit = RateLimit::new(limit, Some(context.verifier.clone()), &context.clock);
    let router: Router = host::server::with_rate_limit(router, &limit);
    // Outside the rate limit, as in every process: probes and scrapes must never get a 429. The merged
    // router keeps the fallback of the limited one, so that unknown paths are limited, too.
    let router = health.merge(router);
    let router = host::server::with_standard_layers(router, &context.clock, &context.ids);

    work.spawn(metrics_recorder::bound_memory(stop.clone()));
    work.spawn(limit.bound_memory(stop.clone()));
    work.spawn(host::server::serve(listener, router, stop.clone()));
    Ok((work, demo_users))
}

/// The health routes over every store of the edition.
fn health_routes(context: &Context) -> OpenApiRouter {
    let Context { requests, background, dynamodb, clock, .. } = context;
    let health = Health {
        postgres: Some(Arc::new(requests.clone())),
        dynamodb: Some(Arc::new(Table {
            client: dynamodb.clone(),
            name: TABLE.to_owned(),
            probe: catalog::probe_key(),
        })),
        queues: Queues::new(background.clone(), clock.clone(), ROUTES).all(),
    };
    health::routes().with_state(health)
}

fn pool(url: &Secret<String>, connections: u32, name: &'static str) -> Result<PgPool, StartError> {
    let config = DatabaseConfig::new(url.clone(), connections, name);
    connections::connect(&config).map_err(StartError::Connect)
}

/// The description of the whole API, without anything running.
pub fn openapi() -> OpenApi {
    let mut document = health::routes().into_openapi();
    for service in SERVICES {
        document.merge((service.openapi)());
    }
    docs::describe(document)
}
