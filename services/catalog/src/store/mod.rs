//! Every call of the service to DynamoDB.

pub(crate) mod card;
pub(crate) mod categories;
pub(crate) mod listings;
pub(crate) mod queries;
pub mod table;
