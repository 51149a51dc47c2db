//! One process that is all of Vitrina: its stores, its roles and its listener, from start to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use catalog::Projector;
use identity::config::ProviderConfig;
use identity::demo::{self, DemoUser};
use inventory::relay::Relay;
use shared::auth::{AuthConfig, KeySource, Verifier};
use shared::bus::dead_letters::DeadLetters;
use shared::bus::queue::Queue;
use shared::bus::{self, Bus, PgBus};
use shared::clock::Clock;
use shared::config::Secret;
use shared::contract::CATALOG_QUEUE;
use shared::database::{self as connections, DatabaseConfig};
use shared::host::Work as _;
use shared::host::health::{self, Health, Table};
use shared::host::metrics_recorder;
use shared::host::rate_limit::{RateLimit, RateLimitConfig};
use shared::host::tick::{self, Progress};
use shared::id::Ids;
use shared::money::Currency;
use shared::{dynamodb, host};
use sqlx::PgPool;
use sync::Reconciler;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::data::{Account, Claim, DataError, DataFolder, Running};
use crate::database::{Database, DatabaseError, Source};
use crate::docs;
use crate::listings::{ListingsError, ListingsStore};
use crate::port::{self, PortError};
use crate::roles::{Role, Roles};

/// The table of listings.
pub const TABLE: &str = "listings";

/// Who issues the tokens of a local edition.
pub const ISSUER: &str = shared::auth::EMBEDDED_ISSUER;

/// Whom they are for.
pub(crate) const AUDIENCE: &str = "vitrina";

/// How often the table of listings is looked after: who deletes it and runs a reconciliation gets
/// it rebuilt.
const TABLE_EVERY: Duration = Duration::from_secs(2);

/// Connections that background work has for itself, so that requests cannot starve it.
const BACKGROUND_CONNECTIONS: u32 = 8;

/// How an edition is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub roles: Roles,
    pub database: Source,
    /// Another identity provider than the embedded one.
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
    #[error("releasing messages that a killed process had received")]
    Release(#[source] sqlx::Error),
    #[error("bringing the schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Listings(#[from] ListingsError),
    #[error("making the table of listings")]
    Table(#[from] catalog::table::TableError),
    #[error(transparent)]
    Identity(#[from] identity::StartError),
    #[error("making the demo users")]
    Demo(#[from] demo::DemoError),
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

/// What the roles stand on. It stops after them.
#[derive(Debug)]
struct Stores {
    database: Database,
    listings: ListingsStore,
}

impl Edition {
    /// Starts everything, the listener last: who gets an answer gets a whole one.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        // First of all, since a taken port is the likeliest reason not to start.
        let listener = port::listen(options.listen).await?;
        let claim = DataFolder::at(&options.data)?.claim()?;
        let folder = claim.folder().clone();
        let password = folder.demo_password()?;
        let url = url_of(&listener, options.listen);
        let listings = folder.listings();
        let (database, listings) = tokio::join!(
            Database::start(&options.database, &folder),
            ListingsStore::start(&listings),
        );
        let stores = Stores { database: database?, listings: listings? };
        let database = stores.database.description.clone();
        let stop = CancellationToken::new();
        let begun = run(&options, &folder, &password, &stores, listener, &stop).await;
        let (work, demo_users) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                stores.stop().await;
                return Err(error);
            }
        };
        let announced = claim.announce(&Running {
            pid: std::process::id(),
            url: url.clone(),
            dynamodb: stores.listings.endpoint.clone(),
            currency: options.currency,
            roles: options.roles.clone(),
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

    /// Stops taking requests, lets open ones end, and then stops what they stood on.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.work.join_next().await.is_some() {}
        self.stores.stop().await;
    }

    /// Ends when a role ends without having been told to: then the process should, too.
    pub async fn failed(&mut self) {
        self.work.join_next().await;
    }
}

impl Stores {
    async fn stop(self) {
        self.listings.stop().await;
        if let Err(error) = self.database.stop().await {
            tracing::error!(error = shared::telemetry::causes(&error), "PostgreSQL did not stop");
        }
    }
}

fn account(DemoUser { email, user, .. }: &DemoUser) -> Account {
    Account { email: (*email).to_owned(), id: user.id, roles: user.roles.clone() }
}

/// Where a listener can be reached from this machine.
fn url_of(listener: &TcpListener, asked: SocketAddr) -> String {
    let address = listener.local_addr().unwrap_or(asked);
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Starts the roles, and says who the demo users are.
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
    let migrators = [&bus::MIGRATOR, &inventory::MIGRATOR, &identity::MIGRATOR, &sync::MIGRATOR];
    connections::migrate(&stores.database.url, &migrators).await?;
    let client = dynamodb::connect_local(&stores.listings.endpoint);
    catalog::table::ensure(&client, TABLE).await?;
    catalog::table::ensure_expiry(&client, TABLE).await?;

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
    let verifier = Verifier::new(auth, clock.clone());

    let requested = Arc::new(Notify::new());
    let (committed, published) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let queue = Queue::new(background.clone(), clock.clone(), CATALOG_QUEUE);
    let catalog = catalog::App::new(client.clone(), TABLE, options.currency)
        .with_kept_pages(catalog::pages::KEPT_FOR);
    let apps = Apps {
        sync: sync::App::new(
            requests.clone(),
            &clock,
            &ids,
            verifier.clone(),
            sync::Listings::new(client.clone(), TABLE),
            DeadLetters::Postgres(Queue::new(requests.clone(), clock.clone(), CATALOG_QUEUE)),
        )
        .with_requested(Arc::clone(&requested)),
        inventory: inventory::App::new(
            requests.clone(),
            &clock,
            &ids,
            verifier.clone(),
            Arc::clone(&committed),
        ),
        catalog,
        identity: identity.clone(),
        health: Health {
            postgres: Some(Arc::new(requests)),
            dynamodb: Some(Arc::new(Table { client: client.clone(), name: TABLE.to_owned() })),
            queue: Some(queue.clone()),
        },
    };
    let limit = RateLimitConfig { dear: identity::DEAR, ..options.rate_limit };
    let limit = RateLimit::new(limit, Some(verifier));
    let router = host::http::limit(apps.router(&options.roles), &limit);
    let router = host::http::dress(router, &clock, &ids);

    let mut work = JoinSet::new();
    work.spawn(metrics_recorder::upkeep(stop.clone()));
    work.spawn(limit.upkeep(stop.clone()));
    if options.roles.has(Role::Identity) {
        work.spawn(identity::tidy::run(identity, stop.clone()));
    }
    if options.roles.has(Role::Relay) {
        let pg_bus =
            PgBus::new(background.clone(), clock.clone(), &[CATALOG_QUEUE], Arc::clone(&published));
        let relay =
            Relay::new(background.clone(), Bus::Postgres(pg_bus), clock.clone(), ids.clone());
        work.spawn(relay.run(committed, stop.clone()));
    }
    if options.roles.has(Role::Sync) {
        let reconciler = Reconciler::new(background, client.clone(), TABLE, clock.clone(), ids)
            .with_queue(queue.clone());
        work.spawn(reconciler.run(requested, stop.clone()));
    }
    if options.roles.has(Role::Projector) {
        let (table_client, table_stop) = (client.clone(), stop.clone());
        work.spawn(async move {
            tick::run("table", TABLE_EVERY, Arc::default(), table_stop, || async {
                catalog::table::ensure(&table_client, TABLE).await.map(|()| Progress::Idle)
            })
            .await;
        });
        if stores.database.is_private() {
            // The data folder is this process's alone, so whoever had received them is dead.
            queue.release().await.map_err(StartError::Release)?;
        }
        let projector = Projector::new(client, TABLE, clock.clone());
        let stop = stop.clone();
        work.spawn(async move {
            host::intake::consume(queue, clock, &projector, published, stop).await;
        });
    }
    work.spawn(host::http::serve(listener, router, stop.clone()));
    Ok((work, demo_users))
}

fn pool(url: &Secret<String>, connections: u32, name: &'static str) -> Result<PgPool, StartError> {
    let config = DatabaseConfig::new(url.clone(), connections, name);
    connections::connect(&config).map_err(StartError::Connect)
}

/// The parts of the API.
struct Apps {
    inventory: inventory::App,
    catalog: catalog::App,
    identity: identity::App,
    health: Health,
    sync: sync::App,
}

impl Apps {
    fn router(self, roles: &Roles) -> Router {
        let (mut router, mut document) = OpenApiRouter::new()
            .merge(health::routes().with_state(self.health))
            .merge(sync::message_routes().with_state(self.sync.clone()))
            .split_for_parts();
        let mut add = |role: Role, routes: OpenApiRouter| {
            if roles.has(role) {
                let (more, described) = routes.split_for_parts();
                router = std::mem::take(&mut router).merge(more);
                document.merge(described);
            }
        };
        add(Role::Inventory, inventory::routes().with_state(self.inventory));
        add(Role::Catalog, catalog::routes().with_state(self.catalog));
        add(Role::Sync, sync::reconciliation_routes().with_state(self.sync));
        add(Role::Identity, identity::routes().with_state(self.identity));
        router.merge(docs::router(docs::describe(document)))
    }
}

/// The description of the whole API, without anything running.
pub fn openapi() -> OpenApi {
    let mut document = health::routes().into_openapi();
    document.merge(inventory::routes().into_openapi());
    document.merge(catalog::routes().into_openapi());
    document.merge(identity::routes().into_openapi());
    document.merge(sync::routes().into_openapi());
    docs::describe(document)
}
