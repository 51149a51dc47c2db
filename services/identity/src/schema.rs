//! What the service has in PostgreSQL, and what its role may use.

use shared::database::ServiceSchema;

use crate::MIGRATOR;

/// Its own tables.
pub static SCHEMA: ServiceSchema =
    ServiceSchema { migrators: &[&MIGRATOR], schemas: &["identity"], publishes: &[], uses: &[] };
