//! Every SQL statement and every call to DynamoDB of the service.

pub(crate) mod buckets;
pub(crate) mod categories;
pub(crate) mod changes;
pub(crate) mod feed;
pub(crate) mod listings;
pub(crate) mod runs;
