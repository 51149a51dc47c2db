//! The schemas of the service in PostgreSQL, and the privileges of its database role.

use shared::bus;
use shared::database::ServiceSchema;

/// The bus, whose queue the projector reads where there is no SQS. The service has no tables in
/// PostgreSQL.
pub static SCHEMA: ServiceSchema =
    ServiceSchema { migrators: &[&bus::MIGRATOR], schemas: &["bus"], publishes: &[], uses: &[] };
