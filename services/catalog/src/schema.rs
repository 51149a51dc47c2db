//! What the service has in PostgreSQL, and what its role may use.

use shared::bus;
use shared::database::ServiceSchema;

/// The bus, whose queue the projector reads where there is no SQS. The service has no tables in
/// PostgreSQL.
pub static SCHEMA: ServiceSchema =
    ServiceSchema { migrators: &[&bus::MIGRATOR], schemas: &["bus"], publishes: &[], uses: &[] };
