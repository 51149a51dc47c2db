//! Each service logs in to PostgreSQL as its own role, which reaches its own tables and those of no other
//! service.
//!
//! The roles are created by the release steps of the services, and the owner of the databases is what it is
//! on RDS: it may create roles and is not a superuser.

use std::sync::Arc;
use std::time::Duration;

use catalog::Projector;
use futures::future::join_all;
use inventory::relay::Relay;
use serde_json::json;
use shared::bus::Bus;
use shared::bus::dead_letters::DeadLetters;
use shared::bus::postgres::{PgBus, Queue, Queues};
use shared::bus::selection::{Action, Selection};
use shared::clock::Clock;
use shared::config::Secret;
use shared::contract::routes::{CATALOG_QUEUE, ROUTES};
use shared::contract::sync_feed;
use shared::database::{MigrationConfig, MigrationError, ServiceSchema, release};
use shared::host::intake;
use shared::host::tick::Progress;
use shared::http::auth::Role;
use shared::id::{EventId, Ids, ProductId, UserId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use sync::{Reconciler, Settings};
use testkit::{Call, PATIENT_RELAY, TestDatabase, Tokens, database, dynamodb, patient_config};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const OWNER: &str = "vitrina_owner";
const TABLE: &str = "listings";
const OPERATOR: UserId = UserId::from_u128(0x09e4);

/// The role of each service, with the schema of tables that no other service reaches.
static SERVICES: [(&str, Option<&str>, &ServiceSchema); 4] = [
    ("vitrina_inventory", Some("inventory"), &inventory::SCHEMA),
    ("vitrina_catalog", None, &catalog::SCHEMA),
    ("vitrina_identity", Some("identity"), &identity::SCHEMA),
    ("vitrina_sync", Some("sync"), &sync::SCHEMA),
];

const SYNC: &str = "vitrina_sync";

/// A database without any schema, with the owner that it has on RDS.
async fn empty_database() -> TestDatabase {
    static OWNER_EXISTS: OnceCell<()> = OnceCell::const_new();
    let database = database(&[]).await;
    OWNER_EXISTS
        .get_or_init(async || {
            execute(&database.pool, format!("create role {OWNER} login createrole")).await.unwrap();
        })
        .await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&database.pool).await.unwrap();
    execute(&database.pool, format!("alter database {name} owner to {OWNER}")).await.unwrap();
    database
}

/// A database after the release steps of all services.
async fn released_database() -> TestDatabase {
    let database = empty_database().await;
    for (role, _, service) in SERVICES {
        take_release_step(&database, role, service).await.unwrap();
    }
    database
}

async fn take_release_step(
    database: &TestDatabase,
    role: &str,
    service: &ServiceSchema,
) -> Result<(), MigrationError> {
    let any: PgConnectOptions = database.url.parse().unwrap();
    let superuser = format!("{}@", any.get_username());
    let url = database.url.replacen(&superuser, &format!("{OWNER}@"), 1);
    let config = patient_config(url, 1);
    let migration = MigrationConfig { secret: None, app_user: Some(role.to_owned()) };
    release(&config, &migration, service).await
}

/// Connections that are logged in as a role.
async fn log_in(database: &TestDatabase, role: &str) -> PgPool {
    let options: PgConnectOptions = database.url.parse().unwrap();
    PgPoolOptions::new().max_connections(4).connect_with(options.username(role)).await.unwrap()
}

async fn execute(pool: &PgPool, statement: String) -> Result<(), sqlx::Error> {
    // Names in these statements are constants or come from the catalogue of PostgreSQL.
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.map(drop)
}

/// Whether PostgreSQL permits a statement to the role that the pool is logged in as.
async fn permits(pool: &PgPool, statement: String) -> bool {
    match execute(pool, statement.clone()).await {
        Ok(()) => true,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => false,
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// The statements on a table that PostgreSQL permits, of select, insert, update and delete. None of
/// them changes anything.
async fn permitted(pool: &PgPool, table: &str, column: &str) -> [bool; 4] {
    let statements = [
        format!("explain select {column} from {table}"),
        format!("explain insert into {table} default values"),
        format!("explain update {table} set {column} = default"),
        format!("explain delete from {table}"),
    ];
    let mut permitted = [false; 4];
    for (permitted, statement) in permitted.iter_mut().zip(statements) {
        *permitted = permits(pool, statement).await;
    }
    permitted
}

#[tokio::test]
async fn each_role_is_refused_the_tables_of_other_services() {
    let database = released_database().await;
    let tables: Vec<(String, String, String)> = sqlx::query_as(
        "select t.table_schema::text, t.table_name::text, min(c.column_name)::text
         from information_schema.tables t
         join information_schema.columns c using (table_schema, table_name)
         where t.table_type = 'BASE TABLE'
           and t.table_schema not in ('pg_catalog', 'information_schema')
         group by 1, 2",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    let mut refused = 0;
    for (role, _, service) in SERVICES {
        let pool = log_in(&database, role).await;
        for (schema, table, column) in &tables {
            let permitted = permitted(&pool, &format!("{schema}.{table}"), column).await;
            let expected = match service.schemas.contains(&schema.as_str()) {
                false => [false; 4],
                // The release step writes it as the owner.
                true if table == "migrations" => [true, false, false, false],
                true => [true; 4],
            };
            assert_eq!(permitted, expected, "{role} and {schema}.{table}");
            refused += usize::from(permitted == [false; 4]);
        }
    }
    assert!(refused > 15, "only {refused} tables are refused");
}

#[tokio::test]
async fn every_schema_but_the_bus_belongs_to_one_service() {
    let database = released_database().await;
    let schemas: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace
         where nspname !~ '^pg_' and nspname not in ('information_schema', 'public', 'bus')",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    for schema in schemas {
        let owners = SERVICES.iter().filter(|(_, own, _)| *own == Some(schema.as_str()));
        assert_eq!(owners.count(), 1, "{schema}");
        let roles = SERVICES.iter().filter(|(.., service)| service.schemas.contains(&&*schema));
        assert_eq!(roles.count(), 1, "{schema}");
    }
}

#[tokio::test]
async fn only_sync_reaches_the_feed_of_inventory() {
    let database = released_database().await;
    for (role, own, _) in SERVICES {
        let pool = log_in(&database, role).await;
        let may_read = permits(&pool, "select count(*) from inventory.sync_feed".to_owned()).await;
        assert_eq!(may_read, role == SYNC || own == Some("inventory"), "{role}");
    }
    let functions: Vec<(String, bool, bool)> = sqlx::query_as(
        "select p.oid::regprocedure::text,
                p.prosecdef and 'search_path=pg_catalog' = any(p.proconfig),
                p.provolatile = 'i'
         from pg_proc p where p.pronamespace = 'inventory'::regnamespace",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(functions.len() >= 6, "{functions:?}");
    for (function, is_as_owner, is_immutable) in functions {
        assert!(is_as_owner || is_immutable, "{function} reads tables as its caller");
        for (role, own, _) in SERVICES {
            let may_call: bool =
                sqlx::query_scalar("select has_function_privilege($1, $2, 'execute')")
                    .bind(role)
                    .bind(&function)
                    .fetch_one(&database.pool)
                    .await
                    .unwrap();
            assert_eq!(may_call, role == SYNC || own == Some("inventory"), "{role}, {function}");
        }
    }
    let members: Vec<String> = sqlx::query_scalar(
        "select member::regrole::text from pg_auth_members
         where roleid = $1::regrole and member <> $2::regrole",
    )
    .bind(sync_feed::DATABASE_ROLE)
    .bind(OWNER)
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(members, [SYNC]);
}

#[tokio::test]
async fn roles_suffice_from_a_create_to_a_repair() {
    let database = released_database().await;
    let dynamo = dynamodb().await;
    catalog::table::ensure(&dynamo.client, TABLE).await.unwrap();
    let (clock, ids) = (Clock::System, Ids::System);
    let tokens = Tokens::new(clock.clone());
    let [inventory, catalog, sync] = [
        log_in(&database, "vitrina_inventory").await,
        log_in(&database, "vitrina_catalog").await,
        log_in(&database, SYNC).await,
    ];
    let seller = tokens.token(UserId::from_u128(0x5e11), Role::Seller);
    let verifier = tokens.verifier();
    let app = inventory::App::new(inventory.clone(), &clock, &ids, verifier, Arc::default());
    let seller_api = inventory::router(app);
    let bus = Bus::Postgres(PgBus::new(inventory.clone(), clock.clone(), ROUTES));
    let relay = Relay::new(inventory, bus, clock.clone(), ids.clone()).with_timeouts(PATIENT_RELAY);
    let queue = Queue::new(catalog, clock.clone(), CATALOG_QUEUE);
    let projector = Projector::new(dynamo.client.clone(), TABLE, clock.clone());
    let deliver = async || {
        while relay.repair().await.unwrap() == Progress::More {}
        while relay.once().await.unwrap() == Progress::More {}
        while intake::once(&queue, &clock, &projector).await.unwrap() == Progress::More {}
    };

    let create = Call::post("/v1/products").bearer(&seller).header("idempotency-key", "\"one\"");
    let product = create
        .json(&json!({
            "sku": "SHOE-1", "name": "Running shoe", "category": "shoes",
            "price": {"amount": 12990, "currency": "BRL"}, "stock": {"on_hand": 5},
        }))
        .send(&seller_api)
        .await
        .expect(201)
        .json;
    let id: ProductId = product["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/products/{id}");
    let change = Call::patch(&path).bearer(&seller).header("if-match", "*");
    change.json(&json!({"name": "Trail shoe"})).send(&seller_api).await.expect(200);
    let stock = Call::put(&format!("{path}/stock")).bearer(&seller).header("if-match", "*");
    stock.json(&json!({"on_hand": 4})).send(&seller_api).await.expect(200);
    deliver().await;
    queue.make_exhausted_dead_letters().await.unwrap();
    queue.expire().await.unwrap();
    let reader = catalog::App::new(dynamo.client.clone(), TABLE, "BRL".parse().unwrap());
    let listing = reader.find_listing(id).await.unwrap().unwrap();
    assert_eq!(listing.name.as_deref(), Some("Trail shoe"));

    // The journal no longer has what the product is, so that its repair needs a new version.
    execute(
        &database.pool,
        "update inventory.products set name = 'Road shoe', content_hash = ''".into(),
    )
    .await
    .unwrap();
    let reads_queue = Queue::new(sync.clone(), clock.clone(), CATALOG_QUEUE);
    let reconciler =
        Reconciler::new(sync.clone(), dynamo.client.clone(), TABLE, clock.clone(), ids.clone())
            .with_queue(reads_queue)
            .with_settings(Settings { grace: Duration::ZERO, ..Settings::default() });
    let run = reconciler.request(OPERATOR, false).await.unwrap();
    reconciler.once(&CancellationToken::new()).await.unwrap();
    let run = reconciler.find_run(run).await.unwrap().unwrap();
    assert!(run.finished_at.is_some(), "{run:?}");
    assert_eq!((run.findings.compared, run.findings.repaired), (1, 1), "{run:?}");
    deliver().await;
    let listing = reader.find_listing(id).await.unwrap().unwrap();
    assert_eq!(listing.name.as_deref(), Some("Road shoe"));

    let dead_letters = DeadLetters::Postgres(Queues::new(sync.clone(), clock.clone(), ROUTES));
    let listings = sync::Listings::new(dynamo.client.clone(), TABLE);
    let app = sync::App::new(sync, &clock, &ids, tokens.verifier(), listings, dead_letters.clone());
    let (operators_api, operator) = (sync::router(app), tokens.token(OPERATOR, Role::Operator));
    let trace = async |id: Uuid| {
        let call = Call::get(&format!("/v1/admin/trace/{id}")).bearer(&operator);
        call.send(&operators_api).await.expect(200)
    };
    trace(id.uuid()).await;
    let event: EventId = sqlx::query_scalar("select event_id from inventory.journal limit 1")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    trace(event.uuid()).await;
    let all = Selection::default();
    assert_eq!(dead_letters.list(&all, 0, 10).await.unwrap(), []);
    assert_eq!(dead_letters.depths().await.unwrap()[0].dead_letters, 0);
    for action in [Action::Redrive, Action::Discard] {
        let settled = dead_letters.settle(&all, None, action, UserId::nil(), clock.now()).await;
        assert_eq!(settled.unwrap(), 0);
    }
}

#[tokio::test]
async fn role_of_identity_suffices_to_sign_up_and_log_in() {
    let database = released_database().await;
    let directory = tempfile::tempdir().unwrap();
    let provider = identity::config::ProviderConfig {
        issuer: "http://localhost:8080".to_owned(),
        audience: "vitrina".to_owned(),
        key_file: directory.path().join("key"),
        mail_directory: directory.path().join("mails"),
    };
    let pool = log_in(&database, "vitrina_identity").await;
    let (clock, ids) = (Clock::System, Ids::System);
    let app = identity::App::new(&provider, pool, clock, ids).unwrap();
    let password = Secret::new("a long sentence".to_owned());
    let users = identity::demo::ensure_users(&app, &password).await.unwrap();
    let router = identity::router(app);
    let post = async |path: &str, body: serde_json::Value, status: u16| {
        Call::post(path).json(&body).send(&router).await.expect(status).json
    };
    let sign_up = json!({
        "email": "ana@example.com", "password": password.expose(), "name": "Ana", "role": "seller"
    });
    post("/v1/auth/signup", sign_up, 202).await;
    let credentials = json!({"email": users[0].email, "password": password.expose()});
    let session = post("/v1/auth/login", credentials, 200).await;
    let refresh = json!({"refresh_token": session["refresh_token"]});
    post("/v1/auth/refresh", refresh, 200).await;
}

#[tokio::test]
async fn release_steps_succeed_at_once_in_databases_of_one_cluster() {
    let mut databases = Vec::new();
    for _ in 0..3 {
        databases.push(empty_database().await);
    }
    for _ in 0..2 {
        let steps = databases.iter().flat_map(|database| {
            SERVICES
                .iter()
                .map(move |(role, _, service)| take_release_step(database, role, service))
        });
        for ended in join_all(steps).await {
            ended.unwrap();
        }
    }
}
