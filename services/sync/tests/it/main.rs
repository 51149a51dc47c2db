//! Reconciliation against a real database and a real DynamoDB API. Products are made, published
//! and projected by the services that do so in production; only the drift is planted.

mod background;
mod categories;
mod drift;
mod endpoints;
mod leases;
mod motion;
mod world;
