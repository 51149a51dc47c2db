//! The schemas of the service in PostgreSQL, and the privileges of its database role.

use shared::bus;
use shared::contract::sync_feed;
use shared::database::{Contract, ServiceSchema};

use crate::MIGRATOR;

/// Its own tables, the bus that it publishes to, and what it publishes to reconciliation.
pub static SCHEMA: ServiceSchema = ServiceSchema {
    migrators: &[&bus::MIGRATOR, &MIGRATOR],
    schemas: &["bus", "inventory"],
    publishes: &[Contract {
        database_role: sync_feed::DATABASE_ROLE,
        grants: include_str!("../grants.sql"),
    }],
    uses: &[],
};
