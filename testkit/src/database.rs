//! A PostgreSQL database a test, on one private cluster a test process.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;

use local_postgres::{Ephemeral, Search};
use shared::config::{Secret, Settings};
use shared::database::{DatabaseConfig, connect};

/// The cluster of this process: it vanishes with the process, however that ends.
static CLUSTER: LazyLock<Ephemeral> = LazyLock::new(|| {
    let settings = Settings::from_env();
    let search = Search {
        explicit: settings.text("VITRINA_POSTGRES_BIN").map(Into::into),
        path: settings.text("PATH").map(Into::into),
        ..Search::default()
    };
    Ephemeral::start(&search).unwrap_or_else(|error| {
        panic!("tests need PostgreSQL: {}", shared::telemetry::causes(&error))
    })
});

/// Databases that are migrated already, by their migrations: copying one is much faster.
static TEMPLATES: LazyLock<Mutex<HashMap<Vec<usize>, String>>> = LazyLock::new(Mutex::default);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of its own, with what `connect` makes of it.
#[derive(Debug)]
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
}

impl TestDatabase {
    /// Removes it before the cluster goes: thousands of them would fill a disk.
    pub async fn remove(self) {
        self.pool.close().await;
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        let name = options.get_database().unwrap();
        let mut admin = PgConnection::connect(&CLUSTER.url("postgres")).await.unwrap();
        // The name was made here, of letters and digits.
        let statement = format!("drop database {name} with (force)");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// A fresh database with `migrators` applied in order.
pub async fn database(migrators: &[&'static Migrator]) -> TestDatabase {
    let key: Vec<usize> = migrators.iter().map(|m| std::ptr::from_ref(*m).addr()).collect();
    let template = {
        let mut templates = TEMPLATES.lock().await;
        if let Some(name) = templates.get(&key) {
            name.clone()
        } else {
            let name = create(None).await;
            let options = PgConnectOptions::from_str(&CLUSTER.url(&name)).unwrap();
            let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
            for migrator in migrators {
                migrator.run(&pool).await.unwrap();
            }
            pool.close().await;
            templates.insert(key, name.clone());
            name
        }
    };
    let url = CLUSTER.url(&create(Some(&template)).await);
    let config = DatabaseConfig::new(Secret::new(url.clone()), 8, "vitrina tests");
    TestDatabase { pool: connect(&config).unwrap(), url }
}

async fn create(template: Option<&str>) -> String {
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let from = template.map(|name| format!(" template {name}")).unwrap_or_default();
    let mut admin = PgConnection::connect(&CLUSTER.url("postgres")).await.unwrap();
    // Both names are made here, of letters and digits.
    let statement = format!("create database {name}{from}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    name
}
