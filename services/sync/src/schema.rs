//! The schemas of the service in PostgreSQL, and the privileges of its database role.

use shared::bus;
use shared::contract::sync_feed;
use shared::database::ServiceSchema;

use crate::MIGRATOR;

/// Its own tables, the bus with its dead letters, and what inventory publishes to it.
pub static SCHEMA: ServiceSchema = ServiceSchema {
    migrators: &[&bus::MIGRATOR, &MIGRATOR],
    schemas: &["bus", "sync"],
    publishes: &[],
    uses: &[sync_feed::DATABASE_ROLE],
};
