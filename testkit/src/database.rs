//! One PostgreSQL database per test, in one cluster per test process.

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
use shared::database::{DatabaseConfig, Timeouts, connect};

use crate::NO_TIMEOUT;

/// The cluster of this process. It is removed however the process ends.
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

/// Migrated databases, keyed by their migrators. Copying one is faster than migrating.
static TEMPLATES: LazyLock<Mutex<HashMap<Vec<usize>, String>>> = LazyLock::new(Mutex::default);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A private database, connected as a service connects.
#[derive(Debug)]
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
}

impl TestDatabase {
    /// Drops the database before the cluster is removed: thousands of them would fill the disk.
    pub async fn remove(self) {
        self.pool.close().await;
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        let name = options.get_database().unwrap();
        let mut admin = PgConnection::connect(&CLUSTER.url("postgres")).await.unwrap();
        // Safe: the name was generated here and needs no quoting.
        let statement = format!("drop database {name} with (force)");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// Creates a database and applies `migrators` in order.
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
    let config = patient_config(url.clone(), 8);
    TestDatabase { pool: connect(&config).unwrap(), url }
}

/// The configuration of a service whose waits end only if something hangs: a test of many
/// concurrent requests must not fail because the machine is busy.
pub fn patient_config(url: String, max_connections: u32) -> DatabaseConfig {
    let timeouts = Timeouts {
        acquire: NO_TIMEOUT,
        statement: NO_TIMEOUT,
        lock: NO_TIMEOUT,
        idle_in_transaction: NO_TIMEOUT,
        ping: NO_TIMEOUT,
    };
    DatabaseConfig {
        timeouts,
        ..DatabaseConfig::new(Secret::new(url), max_connections, "vitrina tests")
    }
}

async fn create(template: Option<&str>) -> String {
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let from = template.map(|name| format!(" template {name}")).unwrap_or_default();
    let mut admin = PgConnection::connect(&CLUSTER.url("postgres")).await.unwrap();
    // Safe: both names were generated here and need no quoting.
    let statement = format!("create database {name}{from}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    name
}
