//! The schemas of the service in PostgreSQL, and the privileges of its database role.

use shared::database::ServiceSchema;

use crate::MIGRATOR;

/// Its own tables.
pub static SCHEMA: ServiceSchema =
    ServiceSchema { migrators: &[&MIGRATOR], schemas: &["identity"], publishes: &[], uses: &[] };
